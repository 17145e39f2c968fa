package import Control
package import Host
package import Options

/// A machine that notes what it is asked and answers as told.
package final class FakeMachine: MachineControl {
    package init() {}

    package var status = RunStatus.running
    package var isRunning: Bool { status == .running || status == .guestPanicked }
    package var name: String? = "vm"
    package var uuid: String? = "11111111-2222-3333-4444-555555555555"
    package var architecture = Architecture.x86_64
    package var machineTypes = [MachineType(name: "microvm", maximumCPUs: 254)]
    package var memorySize: UInt64 = 256 << 20
    package var cpus = [CPUInfo(index: 0, threadID: 100), CPUInfo(index: 1, threadID: 101, core: 1)]
    package var ioThreads = [IOThreadInfo(id: "io1", threadID: 200)]
    package var characterDevices = [
        CharacterDeviceInfo(label: "serial0", filename: "pty:/dev/pts/3", isFrontendOpen: true),
        CharacterDeviceInfo(label: "agent", filename: "unix:/run/agent", isFrontendOpen: false, isSocket: true),
    ]
    package var devices = [TypedObject(id: "blk0", type: "virtio-blk-device")]
    package var objects = [TypedObject(id: "io1", type: "iothread")]
    package var counters = [DeviceCounters(id: "blk0", counters: blockCounters)]

    /// A disk's, with their places as values.
    private static let blockCounters = [
        "rd_operations", "wr_operations", "flush_operations", "unmap_operations", "rd_bytes", "wr_bytes",
        "failed_rd_operations", "failed_wr_operations", "failed_flush_operations", "failed_unmap_operations",
        "invalid_operations",
    ].enumerated().map { DeviceCounters.Counter(name: $1, value: UInt64($0), isBytes: $1.hasSuffix("bytes")) }
    package var blockDevices: [BlockDeviceInfo] = {
        var disk = BlockDeviceInfo(id: "rootfs", deviceID: "blk0", file: "/img/root.ext4", format: "raw", size: 1 << 30)
        disk.isReadOnly = true
        disk.iops = 500
        return [disk]
    }()

    /// Whether stop and cont wait in `replies` until the test completes them.
    package var defers = false
    package var replies: [QMPReply] = []
    package var calls: [String] = []
    package var refusal: QMPError?

    package var balloon: BalloonInfo? = BalloonInfo(actual: 256 << 20)

    package func setBalloon(_ bytes: UInt64) throws(QMPError) { try simple("balloon \(bytes)") }

    package func queryBalloon(_ answer: @escaping (BalloonInfo) -> Void) throws(QMPError) {
        guard let balloon else { throw QMPError("no balloon", class: .deviceNotActive) }
        answer(balloon)
    }

    package func readCounters(_ answer: @escaping ([DeviceCounters]) -> Void) { answer(counters) }

    package func disconnect(characterDevices labels: [String]) throws(QMPError) {
        try simple("yank \(labels.joined(separator: " "))")
    }

    package func logAddressSpace(_ reply: QMPReply) { answer("query-mem", reply) {} }

    package func stop(_ reply: QMPReply) { answer("stop", reply) { self.status = .paused } }
    package func resume(_ reply: QMPReply) { answer("cont", reply) { self.status = .running } }
    package func quit() { calls.append("quit") }
    package func powerDown() throws(QMPError) { try simple("system_powerdown") }
    package func reset() throws(QMPError) { try simple("system_reset") }

    package var drives: [DriveSpec] = []
    package var plugged: [(spec: DeviceSpec, slot: Int?)] = []
    package var descriptorNumbers: [String: Int32] = [:]

    package func keepDescriptor(_ file: consuming FileDescriptor, as name: String) throws(QMPError) {
        try simple("getfd \(name)")
        descriptorNumbers[name] = file.rawValue
    }

    package func closeDescriptor(_ name: String) throws(QMPError) { try simple("closefd \(name)") }

    package var descriptorSets = [
        FDSetInfo(number: 2, descriptors: [.init(number: 7, opaque: "rdwr:/img/a"), .init(number: 9)])
    ]

    package func addDescriptor(
        _ file: consuming FileDescriptor, toSet set: UInt64?, opaque: String?
    ) throws(QMPError) -> (set: UInt64, number: Int32) {
        try simple("add-fd \(set.map { String($0) } ?? "-") \(opaque ?? "-")")
        return (set ?? 0, file.rawValue)
    }

    package func removeDescriptor(_ number: UInt64?, fromSet set: UInt64) throws(QMPError) {
        try simple("remove-fd \(set) \(number.map { String($0) } ?? "-")")
    }

    package func addDrive(_ spec: DriveSpec) throws(QMPError) {
        try simple("blockdev-add \(spec.id)")
        drives.append(spec)
    }

    package func removeDrive(_ id: String) throws(QMPError) { try simple("blockdev-del \(id)") }

    package func addDevice(_ spec: DeviceSpec, slot: Int?, _ reply: QMPReply) {
        answer("device_add \(spec.id ?? "")", reply) { self.plugged.append((spec, slot)) }
    }

    package func removeDevice(_ id: String, _ reply: QMPReply) { answer("device_del \(id)", reply) {} }

    package func addNetdev(_ spec: NetdevSpec) throws(QMPError) { try simple("netdev_add \(spec.id)") }

    package func removeNetdev(_ id: String) throws(QMPError) { try simple("netdev_del \(id)") }

    package func setLink(_ id: String, up isUp: Bool, _ reply: QMPReply) { answer("set_link \(id) \(isUp)", reply) {} }

    package func addObject(_ spec: ObjectSpec, _ reply: QMPReply) { answer("object-add \(spec.id)", reply) {} }

    package func removeObject(_ id: String, _ reply: QMPReply) { answer("object-del \(id)", reply) {} }

    package func resizeDisk(_ id: String, to size: UInt64, _ reply: QMPReply) {
        answer("block_resize \(id) \(size)", reply) {}
    }

    package func limitDisk(_ id: String, iops: UInt32, _ reply: QMPReply) { answer("throttle \(id) \(iops)", reply) {} }

    private func simple(_ call: String) throws(QMPError) {
        calls.append(call)
        if let refusal { throw refusal }
    }

    private func answer(_ call: String, _ reply: QMPReply, _ act: () -> Void) {
        calls.append(call)
        act()
        if defers { replies.append(reply) } else { reply.succeed() }
    }
}

/// The version all tests greet with.
package let testVersion = QMPVersion(package: "apus-0.1.0")

extension QMPSession {
    package static func forTest(_ machine: FakeMachine, limits: Limits = Limits()) -> QMPSession {
        QMPSession(version: testVersion, commands: .standard, machine: machine, limits: limits)
    }

    /// Runs up to `limit` commands; answers whether there are more.
    package func process(atMost limit: Int) -> Bool {
        var allowance = QMPAllowance(commands: limit)
        return process(&allowance)
    }

    package func receive(_ text: String) {
        receive(Array(text.utf8).span)
    }

    package func takeText() -> String {
        String(decoding: takeOutput(), as: UTF8.self)
    }

    /// What comes back for `text`, all of it processed.
    package func exchange(_ text: String) -> String {
        receive(text)
        while process(atMost: 16) {}
        return takeText()
    }
}
