/// What can be told only when all options are known: limits of the whole machine, and that what refers to something
/// finds it. The order of the checks is fixed, so that the same mistakes always give the same message.
extension LaunchOptions {
    /// Throws an error for the first check that fails.
    func check() throws(OptionError) {
        try checkProcess()
        try checkControl()
        try checkRoot()
        try checkIdentities()
        try checkMemory()
        try checkCounts()
        try checkDrives()
        try checkNetdevs()
        try checkDescriptors()
        try checkIOThreads()
        try checkEntropy()
        _ = try serialPorts()
        try checkCharacters()
    }

    private func checkProcess() throws(OptionError) {
        if pidfile != nil, !isDaemon {
            throw OptionError(
                option: "-pidfile", offending: pidfile, problem: "it goes with -daemonize only",
                remedy: "add -daemonize or leave it out")
        }
    }

    private func checkControl() throws(OptionError) {
        guard qmp != nil || monitor != nil else {
            throw OptionError(
                option: "-qmp", problem: "the option is missing",
                remedy: "write -qmp unix:PATH,server,nowait or give -mon with a socket -chardev")
        }
        guard let id = monitor?.chardev else { return }
        guard let chardev = chardev(id) else {
            throw .noSuch("-chardev", id, in: "-mon", key: "chardev", known: chardevs.map(\.id))
        }
        guard case .socket = chardev.backend else {
            throw OptionError(
                option: "-mon", offending: id, problem: "chardev \(quoted(id)) is not a socket",
                remedy: "give the id of a -chardev socket,path=PATH,server,nowait")
        }
        try checkServer(id, in: "-mon")
    }

    private func checkRoot() throws(OptionError) {
        if initrd == nil, drives.isEmpty, chardevs.isEmpty {
            throw OptionError(
                option: "-drive", problem: "there is nothing to start from",
                remedy: "give -initrd PATH, or -drive with -device virtio-blk-device")
        }
    }

    // MARK: - Names and numbers

    private func checkIdentities() throws(OptionError) {
        try Self.checkUnique(drives.map(\.id), option: "-drive")
        try Self.checkUnique(objects.map(\.id), option: "-object")
        try Self.checkUnique(netdevs.map(\.id), option: "-netdev")
        var chardevs = chardevs.map(\.id)
        if case .backend = serial { chardevs.append(SerialSpec.backendID) }
        try Self.checkUnique(chardevs, option: "-chardev")
        try Self.checkUnique(devices.compactMap(\.id), option: "-device")
    }

    private static func checkUnique(_ ids: [String], option: String) throws(OptionError) {
        var seen: Set<String> = []
        for id in ids where !seen.insert(id).inserted {
            throw OptionError(option: option, offending: id, problem: "id \(quoted(id)) is given twice")
        }
    }

    private func checkCounts() throws(OptionError) {
        try checkCount(iothreads.count, 0...limits.iothreads, "-object iothread", "iothreads")
        try checkSpareIOThreads()
        try checkCount(count("virtio-blk-device"), 0...limits.disks, "-device virtio-blk-device", "disks")
        try checkCount(
            count("virtio-net-device"), 0...limits.nics, "-device virtio-net-device", "network cards")
        for type in ["virtio-serial-device", "virtconsole", "virtio-balloon-device"] {
            try checkCount(count(type), 0...1, "-device \(type)", "of it")
        }
        try checkCount(devices.count(where: \.hasTransport), 0...limits.transports, "-device", "devices on MMIO")
    }

    private func checkSpareIOThreads() throws(OptionError) {
        guard let spare = machine.spareIOThreads, spare > 0 else { return }
        guard iothreads.count + spare <= limits.iothreads else {
            throw OptionError(
                option: "-machine", offending: String(spare),
                problem: "spare-iothreads: there are \(iothreads.count) iothreads and \(spare) spare ones",
                remedy: "a MicroVm has at most \(limits.iothreads) of both together")
        }
        guard machine.hotPlug != false else {
            throw OptionError(
                option: "-machine", offending: String(spare),
                problem: "spare-iothreads: there will be no device for them with hotplug=off",
                remedy: "write hotplug=on, or leave spare-iothreads out")
        }
    }

    private func count(_ type: String) -> Int { devices.count { $0.type == type } }

    private func checkCount(
        _ count: Int, _ limit: ClosedRange<Int>, _ option: String, _ noun: String
    ) throws(OptionError) {
        guard !limit.contains(count) else { return }
        throw OptionError(
            option: option, offending: String(count), problem: "there are \(count) \(noun)",
            remedy: "a MicroVm has at most \(limit.upperBound)")
    }

    // MARK: - References

    private func checkDrives() throws(OptionError) {
        var uses = References(to: "-drive", drives.map(\.id))
        for case .block(let disk) in devices {
            try uses.use(disk.drive, in: "-device virtio-blk-device", key: "drive")
        }
        var writers: [String: Bool] = [:]
        for drive in drives {
            if let other = writers[drive.file], other || !drive.isReadOnly {
                throw OptionError(
                    option: "-drive", offending: drive.file,
                    problem: "\(quoted(drive.file)) is the file of two drives",
                    remedy: "that is possible only if both are readonly=on")
            }
            writers[drive.file] = !drive.isReadOnly
        }
    }

    private func checkNetdevs() throws(OptionError) {
        var uses = References(to: "-netdev", netdevs.map(\.id))
        for case .network(let card) in devices {
            let option = "-device virtio-net-device"
            try uses.use(card.netdev, in: option, key: "netdev")
            if let netdev = netdev(card.netdev), netdev.queuePairs > 1, !card.isMultiqueue {
                throw OptionError(
                    option: option, offending: card.netdev,
                    problem: "netdev \(quoted(card.netdev)) has \(netdev.queuePairs) pairs of queues",
                    remedy: "add mq=on")
            }
        }
    }

    /// Each inherited descriptor has one owner, who closes it.
    private func checkDescriptors() throws(OptionError) {
        var given: [(option: String, number: Int32)] = []
        for netdev in netdevs {
            guard case .tap(let tap) = netdev.backend else { continue }
            given += (tap.interface == nil ? tap.descriptors : []).map { ("-netdev", $0) }
            given += (tap.usesVhost ? tap.vhostDescriptors : []).map { ("-netdev", $0) }
        }
        for case .vsock(let device) in devices {
            if let number = device.vhostDescriptor { given.append(("-device vhost-vsock-device", number)) }
        }
        var seen: Set<Int32> = []
        for (option, number) in given where !seen.insert(number).inserted {
            throw OptionError(
                option: option, offending: String(number), problem: "descriptor \(number) is given twice",
                remedy: "each device needs one of its own")
        }
    }

    private func checkIOThreads() throws(OptionError) {
        let known = iothreads.map(\.id)
        for device in devices {
            try device.checkIOThreads(known, in: "-device", kind: "-object iothread")
        }
    }

    /// A memory backend that is given is the guest's memory, all of it, and nothing else describes that.
    private func checkMemory() throws(OptionError) {
        let backends = objects.compactMap { if case .memory(let spec) = $0 { spec } else { nil } }
        var uses = References(to: "-object memory-backend-*", backends.map(\.id))
        if let id = machine.memoryBackend {
            try uses.use(id, in: "-machine", key: "memory-backend")
            if memory.path != nil || memory.isPreallocated || machine.sharesMemory {
                throw OptionError(
                    option: "-machine", offending: id,
                    problem: "memory-backend excludes -mem-path, -mem-prealloc and mem-share",
                    remedy: "write mem-path=, mem-prealloc=on and share=on on the -object")
            }
        }
        for backend in backends {
            guard backend.id == machine.memoryBackend else {
                throw OptionError(
                    option: "-object \(backend.kind.rawValue)", offending: backend.id,
                    problem: "nothing uses \(quoted(backend.id))",
                    remedy: "add memory-backend=\(backend.id) to -machine")
            }
            guard backend.size == memory.size else {
                throw OptionError(
                    option: "-object \(backend.kind.rawValue)", offending: backend.id,
                    problem: "it has \(sizeText(backend.size)), -m says \(sizeText(memory.size))",
                    remedy: "both have to be the same")
            }
        }
    }

    private func checkEntropy() throws(OptionError) {
        var uses = References(
            to: "-object rng-random", objects.compactMap { if case .random(let spec) = $0 { spec.id } else { nil } })
        for case .entropy(let device) in devices {
            try uses.use(device.source, in: "-device virtio-rng-device", key: "rng")
        }
    }
}
