import Testing

@testable import Options

@Suite("What can be told of the whole machine only")
struct WholeMachineTests {
    private static let disks = (0..<6).map { "-drive id=d\($0),file=/d\($0) -device virtio-blk-device,drive=d\($0)" }
    private static let cards = (0..<2).map {
        "-netdev tap,id=n\($0),ifname=t\($0) -device virtio-net-device,netdev=n\($0)"
    }
    private static let sources = (0..<10).map {
        "-object rng-random,id=r\($0),filename=/dev/urandom -device virtio-rng-device,rng=r\($0)"
    }
    private static let serialBus = "-device virtio-serial-device"

    @Test("The greatest machine: 19 devices on MMIO, 8 iothreads, ports beside them")
    func greatest() throws {
        let line =
            [least] + Self.disks + Self.cards
            + [
                Self.serialBus, "-device virtio-balloon-device", "-device vhost-vsock-device,guest-cid=3",
                "-chardev pty,id=c -device virtconsole,chardev=c -chardev pty,id=p -device virtserialport,chardev=p",
            ] + Self.sources.prefix(8) + (0..<8).map { "-object iothread,id=io\($0)" }
        let options = try launch(line.joined(separator: " "))
        #expect(options.devices.count(where: \.hasTransport) == 19)
        #expect(options.iothreads.count == 8)
    }

    @Test(
        "A thread is kept for an iothread where hot plug was asked for, and as many as are asked for",
        arguments: [
            ("", 0), ("-machine microvm,hotplug=on", 1), ("-machine microvm,hotplug=off", 0),
            ("-machine microvm,spare-iothreads=3", 3), ("-machine microvm,hotplug=on,spare-iothreads=0", 0),
            ("-machine microvm,hotplug=off,spare-iothreads=0", 0),
            ("-machine microvm,hotplug=on,spare-iothreads=7 -object iothread,id=a", 7),
            // None is needed where threads can be started.
            ("-machine microvm,hotplug=on,spare-iothreads=2 -disable-seccomp", 0),
            // What nobody has asked for is no reason to refuse anything.
            ("-machine microvm,hotplug=on " + (0..<8).map { "-object iothread,id=a\($0)" }.joined(separator: " "), 0),
        ])
    func spareIOThreads(line: String, count: Int) throws {
        #expect(try launch("\(least) \(line)").spareIOThreads == count)
    }

    @Test(
        "Ports of the serial bus get the first numbers that are free, and only a console gets 0",
        arguments: [
            (["virtconsole", "virtserialport", "virtserialport"], [0, 1, 2]),
            (["virtserialport", "virtserialport", "virtconsole"], [1, 2, 0]),
            (["virtserialport", "virtserialport,nr=1", "virtconsole"], [2, 1, 0]),
            (["virtserialport,nr=30", "virtconsole,nr=3", "virtserialport"], [30, 3, 1]),
        ])
    func numbers(ports: [String], numbers: [Int]) throws {
        let devices = ports.enumerated().map { "-chardev pty,id=c\($0) -device \($1),chardev=c\($0)" }
        let line = [least, Self.serialBus] + devices
        #expect(try launch(line.joined(separator: " ")).serialPorts().map(\.number) == numbers)
    }

    private static let mistakes: [(line: String, message: String)] = [
        (
            (disks + cards + [serialBus, "-device virtio-balloon-device"] + sources).joined(separator: " "),
            "-device: there are 20 devices on MMIO; a MicroVm has at most 19"
        ),
        (
            (cards + ["-netdev tap,id=n2,ifname=t2 -device virtio-net-device,netdev=n2"]).joined(separator: " "),
            "-device virtio-net-device: there are 3 network cards; a MicroVm has at most 2"
        ),
        (
            "-machine microvm,spare-iothreads=7 -object iothread,id=a -object iothread,id=b",
            "-machine: spare-iothreads: there are 2 iothreads and 7 spare ones; "
                + "a MicroVm has at most 8 of both together"
        ),
        (
            "-machine microvm,hotplug=off,spare-iothreads=1",
            "-machine: spare-iothreads: there will be no device for them with hotplug=off; "
                + "write hotplug=on, or leave spare-iothreads out"
        ),
        (
            "-object memory-backend-ram,id=m,size=256M",
            "-object memory-backend-ram: nothing uses \"m\"; add memory-backend=m to -machine"
        ),
        (
            "-machine microvm,memory-backend=m",
            "-machine: memory-backend: no -object memory-backend-* has the id \"m\"; "
                + "there is no -object memory-backend-*"
        ),
        (
            "-object memory-backend-ram,id=m,size=128M -machine microvm,memory-backend=m",
            "-object memory-backend-ram: it has 128M, -m says 256M; both have to be the same"
        ),
        (
            "-object memory-backend-ram,id=m,size=256M -machine microvm,memory-backend=m,mem-share=on",
            "-machine: memory-backend excludes -mem-path, -mem-prealloc and mem-share; "
                + "write mem-path=, mem-prealloc=on and share=on on the -object"
        ),
        (
            "-object memory-backend-ram,id=m,size=256M,policy=bind -machine microvm,memory-backend=m",
            "-object memory-backend-ram: policy: \"bind\" needs host-nodes; name the nodes, such as host-nodes=0"
        ),
        (
            "-device virtio-balloon-device -device virtio-balloon-device",
            "-device virtio-balloon-device: there are 2 of it; a MicroVm has at most 1"
        ),
        (
            "\(serialBus) \(serialBus)",
            "-device virtio-serial-device: there are 2 of it; a MicroVm has at most 1"
        ),
        (
            "\(serialBus) -device virtconsole,chardev=a -device virtconsole,chardev=b",
            "-device virtconsole: there are 2 of it; a MicroVm has at most 1"
        ),
        (
            "-device virtconsole,chardev=a -chardev pty,id=a",
            "-device virtconsole: there is no serial bus for it; add -device virtio-serial-device"
        ),
        (
            "\(serialBus),max-ports=2 -device virtserialport,chardev=a,nr=2 -chardev pty,id=a",
            "-device virtserialport: nr=2 is beyond max-ports=2; numbers go from 0 to 1"
        ),
        (
            "\(serialBus) -device virtserialport,chardev=a,nr=2 -device virtserialport,chardev=b,nr=2",
            "-device virtserialport: nr=2 is the number of two ports"
        ),
        (
            "\(serialBus),max-ports=1 -device virtserialport,chardev=a -chardev pty,id=a",
            "-device virtserialport: max-ports=1 leaves no number for it; 0 is the number of a virtconsole"
        ),
        (
            "\(serialBus),max-ports=2 -device virtserialport,chardev=a virtserialport,chardev=b",
            "-device virtserialport: max-ports=2 leaves no number for it; 0 is the number of a virtconsole"
        ),
        (
            "\(serialBus) virtserialport,chardev=a -chardev socket,id=a,path=/a,server,nowait,replay=on",
            "-device virtserialport: chardev \"a\" has replay=on, which is for consoles; leave it out"
        ),
        (
            "-chardev pty,id=serial_chardev -serial pty", "-chardev: id \"serial_chardev\" is given twice"
        ),
        (
            "\(serialBus) -device virtconsole,chardev=a",
            "-device virtconsole: chardev: no -chardev has the id \"a\"; there is no -chardev"
        ),
        (
            "\(serialBus) -device virtconsole,chardev=a -chardev socket,id=a,path=/a",
            "-device virtconsole: socket \"unix:/a\" lacks server; add server,nowait"
        ),
        (
            "\(serialBus) -device virtconsole,chardev=a -chardev pty,id=a -serial chardev:a",
            "-device virtconsole: chardev: \"a\" is in use already; each -chardev serves one user"
        ),
        (
            "-device virtio-net-device,netdev=n",
            "-device virtio-net-device: netdev: no -netdev has the id \"n\"; there is no -netdev"
        ),
        (
            "-netdev tap,id=n,ifname=t -device virtio-net-device,netdev=n -device virtio-net-device,netdev=n",
            "-device virtio-net-device: netdev: \"n\" is in use already; each -netdev serves one user"
        ),
        (
            "-netdev tap,id=n,fds=3:4 -device virtio-net-device,netdev=n",
            "-device virtio-net-device: netdev \"n\" has 2 pairs of queues; add mq=on"
        ),
        (
            "-netdev tap,id=n,fd=3 -device vhost-vsock-device,guest-cid=3,vhostfd=3",
            "-device vhost-vsock-device: descriptor 3 is given twice; each device needs one of its own"
        ),
        (
            "-netdev tap,id=n,ifname=t -netdev tap,id=n,ifname=u", "-netdev: id \"n\" is given twice"
        ),
        (
            "-netdev tap,id=n,ifname=t -device virtio-net-device,netdev=n,tx-iothread=io",
            "-device virtio-net-device: tx-iothread: no -object iothread has the id \"io\"; there is no -object iothread"
        ),
        (
            "-netdev tap,id=n,ifname=t -object iothread,id=io "
                + "-device virtio-net-device,netdev=n,iothread=io,rx-iothread=rx,tx-iothread=tx",
            "-device virtio-net-device: rx-iothread: no -object iothread has the id \"rx\"; known ids: \"io\""
        ),
        (
            "-netdev vhost-user,id=n,chardev=c -chardev socket,id=c,path=/c,server,nowait",
            "-netdev vhost-user: chardev \"c\" is not a Unix socket without server and nowait"
        ),
        (
            "-device virtio-rng-device,rng=r -object iothread,id=r",
            "-device virtio-rng-device: rng: no -object rng-random has the id \"r\"; there is no -object rng-random"
        ),
        (
            "-object rng-random,id=r,filename=/r -device virtio-rng-device,rng=r -device virtio-rng-device,rng=r",
            "-device virtio-rng-device: rng: \"r\" is in use already; each -object rng-random serves one user"
        ),
        (
            "-object rng-random,id=r,filename=/r -object iothread,id=r", "-object: id \"r\" is given twice"
        ),
        (
            "-device vhost-user-fs-device,chardev=c,tag=t -chardev socket,id=c,path=/c",
            "-device vhost-user-fs-device: virtiofsd needs to share the guest's memory; "
                + "write -machine microvm,mem-share=on"
        ),
        (
            "-machine microvm,mem-share=on -device vhost-user-fs-device,chardev=c,tag=t -chardev pty,id=c",
            "-device vhost-user-fs-device: chardev \"c\" is not a Unix socket; "
                + "give the id of a -chardev socket,path=PATH"
        ),
    ]

    @Test("Too many, or not what is referred to", arguments: mistakes)
    func refused(line: String, expected: String) {
        #expect(
            message { () throws(OptionError) in
                try LaunchOptions.parse(words("\(least) \(line)"), .microvm)
            } == expected)
    }

    @Test("The same mistakes give the same message, whichever option stands first")
    func order() {
        let mistakes = ["-smp 0", "-m 1", "-machine pc", "-drive id=a", "-device x"]
        let messages = Set(
            (0..<mistakes.count).map { turn in
                let line = (0..<mistakes.count).map { mistakes[($0 + turn) % mistakes.count] }
                return message { () throws(OptionError) in
                    try LaunchOptions.parse(words(line.joined(separator: " ")), .microvm)
                }
            })
        #expect(messages == ["-machine: \"pc\" is not a machine type; microvm is the one that is supported"])
    }

    @Test("Several read-only drives may share a file; two directories of virtiofsd don't listen")
    func shared() throws {
        _ = try launch("\(least) -drive id=a,file=/a,readonly=on -drive id=b,file=/a,readonly=on")
        _ = try launch(
            "\(least) -machine microvm,mem-share=on -chardev socket,id=c,path=/q,server,nowait "
                + "-device vhost-user-fs-device,chardev=c,tag=t")
    }

    private func words(_ line: String) -> [String] { BadCommandLines.words(line) }
}
