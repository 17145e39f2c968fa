import Testing

@testable import Options

@Suite("Specs of options")
struct SpecTests {
    // MARK: -machine, -smp, -m

    @Test("Machine types in any case, as first word or under type", arguments: ["microvm", "MicroVm", "type=MICROVM"])
    func machine(text: String) throws {
        #expect(try MachineSpec.parse(text, .microvm) == .standard)
    }

    @Test("What a machine says of its memory")
    func machineMemory() throws {
        let machine = try MachineSpec.parse(
            "dump-guest-core=off,type=microvm,mem-share=yes,usb=off,accel=kvm", .microvm)
        #expect(!machine.dumpsGuestCore)
        #expect(machine.sharesMemory)
        #expect(machine.accelerator == .kvm)
    }

    @Test(
        "Spare iothreads are counted", arguments: [("0", 0), ("8", 8), ("9", nil), ("-1", nil), ("", nil), ("on", nil)])
    func spareIOThreads(text: String, count: Int?) throws {
        let machine = try? MachineSpec.parse("microvm,spare-iothreads=\(text)", .microvm)
        #expect(machine?.spareIOThreads == count)
    }

    @Test(
        "Topologies, filled in as StratoVirt fills them",
        arguments: [
            ("1", [1, 1, 1, 1, 1, 1, 1]),
            ("254", [254, 254, 1, 1, 1, 254, 1]),
            ("cpus=8", [8, 8, 1, 1, 1, 8, 1]),
            ("8,sockets=2", [8, 8, 2, 1, 1, 4, 1]),
            ("8,threads=2", [8, 8, 1, 1, 1, 4, 2]),
            ("8,cores=4", [8, 8, 2, 1, 1, 4, 1]),
            ("8,cores=2,threads=2", [8, 8, 2, 1, 1, 2, 2]),
            ("8,sockets=2,cores=2", [8, 8, 2, 1, 1, 2, 2]),
            ("8,sockets=2,cores=2,threads=2", [8, 8, 2, 1, 1, 2, 2]),
            ("8,sockets=1,dies=2,clusters=2,cores=2,threads=1", [8, 8, 1, 2, 2, 2, 1]),
            ("2,sockets=2,cores=2,threads=2", [2, 8, 2, 1, 1, 2, 2]),
            ("4,maxcpus=8", [4, 8, 1, 1, 1, 8, 1]),
            ("4,maxcpus=8,sockets=4", [4, 8, 4, 1, 1, 2, 1]),
            ("maxcpus=8,cpus=4,cores=8", [4, 8, 1, 1, 1, 8, 1]),
        ])
    func topology(text: String, numbers: [Int]) throws {
        let topology = try CPUTopology.parse(text, .microvm)
        let found = [
            topology.cpus, topology.maximum, topology.sockets, topology.dies, topology.clusters, topology.cores,
            topology.threads,
        ]
        #expect(found == numbers)
    }

    @Test(
        "Topologies that don't multiply",
        arguments: [
            "4,sockets=3", "8,dies=16", "4,sockets=3,cores=1", "6,cores=4", "254,sockets=254,dies=254,clusters=254",
            "8,maxcpus=8,sockets=1,cores=2,threads=2", "3,maxcpus=5,cores=2,sockets=1",
            "16,sockets=2,cores=2,threads=2",
        ])
    func brokenTopology(text: String) {
        #expect(throws: OptionError.self) { try CPUTopology.parse(text, .microvm) }
    }

    @Test(
        "Memory",
        arguments: [
            ("128", 128 << 20, 128 << 20), ("size=256M", 256 << 20, 256 << 20), ("512G", 512 << 30, 512 << 30),
            ("524288", 512 << 30, 512 << 30), ("1G,maxmem=2G", 1 << 30, 2 << 30),
            ("131076K", 131_076 << 10, 131_076 << 10),
        ] as [(String, UInt64, UInt64)])
    func memory(text: String, size: UInt64, maximum: UInt64) throws {
        let memory = try MemorySpec.parse(text)
        #expect(memory.size == size)
        #expect(memory.maximum == maximum)
    }

    // MARK: -drive

    @Test("Every key of a drive")
    func drive() throws {
        let drive = try DriveSpec.parse(
            """
            id=d,file="/srv/x y.img",if=none,readonly=on,direct=on,aio=io_uring,throttling.iops-total=200,media=cdrom,\
            discard=unmap,detect-zeroes=unmap,format=raw
            """)
        #expect(
            drive
                == DriveSpec(
                    id: "d", file: "/srv/x y.img", isReadOnly: true, isDirect: true, asynchronousIO: .ioUring,
                    maximumIOPS: 200, media: .cdrom, discards: true, zeroDetection: .unmap))
    }

    @Test(
        "The engine of a drive",
        arguments: [
            ("", true, .native), ("direct=on", true, .native), ("direct=off", false, .off), ("direct=no", false, .off),
            ("direct=false", false, .off), ("aio=native", true, .native), ("aio=threads,direct=off", false, .threads),
            ("aio=io_uring,direct=off", false, .ioUring), ("aio=threads", true, .threads),
            ("aio=off,direct=off", false, .off),
        ] as [(String, Bool, DriveSpec.AsynchronousIO)])
    func engine(keys: String, isDirect: Bool, engine: DriveSpec.AsynchronousIO) throws {
        let drive = try DriveSpec.parse("id=d,file=/d" + (keys.isEmpty ? "" : "," + keys))
        #expect(drive.isDirect == isDirect)
        #expect(drive.asynchronousIO == engine)
    }

    @Test(
        "The limit of a drive: 0 is none",
        arguments: [("0", nil), ("1", 1), ("1000000", 1_000_000)] as [(String, UInt32?)])
    func iops(text: String, limit: UInt32?) throws {
        #expect(try DriveSpec.parse("id=d,file=/d,throttling.iops-total=\(text)").maximumIOPS == limit)
    }

    @Test("write-zeroes is detect-zeroes")
    func writeZeroes() throws {
        #expect(try DriveSpec.parse("id=d,file=/d,write-zeroes=on").zeroDetection == .on)
    }

    // MARK: -chardev, -serial, -qmp

    @Test(
        "Character devices",
        arguments: [
            ("stdio,id=c", .stdio), ("pty,id=c", .pty), ("redirect-to-log,id=c", .log),
            ("file,id=c,path=/f", .file(path: "/f")),
            ("socket,id=c,path=/s", .socket(SocketSpec(endpoint: .unix(path: "/s"), isServer: false, isNoWait: false))),
            (
                "socket,id=c,path=/s,server,nowait",
                .socket(SocketSpec(endpoint: .unix(path: "/s"), isServer: true, isNoWait: true))
            ),
            (
                "socket,id=c,path=/s,server,nowait,replay=off",
                .socket(SocketSpec(endpoint: .unix(path: "/s"), isServer: true, isNoWait: true, replays: false))
            ),
            (
                "socket,port=65535,id=c,server",
                .socket(SocketSpec(endpoint: .tcp(host: .any, port: 65535), isServer: true, isNoWait: false))
            ),
        ] as [(String, CharacterBackend)])
    func chardev(text: String, backend: CharacterBackend) throws {
        #expect(try ChardevSpec.parse(text) == ChardevSpec(id: "c", backend: backend))
    }

    @Test(
        "Serial ports",
        arguments: [
            ("stdio", .backend(.stdio)), ("pty", .backend(.pty)), ("file,path=/f", .backend(.file(path: "/f"))),
            (
                "socket,path=/s,server,nowait",
                .backend(.socket(SocketSpec(endpoint: .unix(path: "/s"), isServer: true, isNoWait: true)))
            ),
            ("chardev:con 0", .chardev(id: "con 0")),
        ] as [(String, SerialSpec)])
    func serial(text: String, spec: SerialSpec) throws {
        #expect(try SerialSpec.parse(text) == spec)
    }

    @Test("A QMP path of the greatest length")
    func qmp() throws {
        let path = "/" + String(repeating: "q", count: 106)
        #expect(try QMPSpec.parse("unix:\(path),nowait,server").endpoint == .unix(path: path))
    }

    // MARK: -netdev

    @Test("Taps, by name and by descriptors")
    func taps() throws {
        let named = try NetdevSpec.parse("tap,id=n,ifname=tap0,vhost=on,vhostfds=5:6,queues=2")
        #expect(
            named
                == NetdevSpec(
                    id: "n",
                    backend: .tap(
                        TapSpec(interface: "tap0", descriptors: [], usesVhost: true, vhostDescriptors: [5, 6])),
                    queuePairs: 2))
        #expect(try NetdevSpec.parse("tap,id=n,fds=3:4:5").queuePairs == 3)
        #expect(try NetdevSpec.parse("vhost-user,id=n,chardev=c").backend == .vhostUser(chardev: "c"))
    }

    @Test(
        "Netdevs that are refused",
        arguments: [
            ("tap,id=n", "-netdev: a tap has neither name nor descriptor; write ifname=NAME or fd=FD"),
            ("tap,ifname=t", "-netdev: \"id\" is missing; write id=ID"),
            ("user,id=n", "-netdev: \"user\" is not tap or vhost-user"),
            (
                "tap,id=n,ifname=sixteen-letters-",
                "-netdev: ifname: \"sixteen-letters-\" is not the name of an interface of 1 to 15 bytes"
            ),
            ("tap,id=n,fd=3,fds=4", "-netdev: fds: \"4\" repeats fd; give one of them"),
            ("tap,id=n,fd=three", "-netdev: fd: \"three\" is not file descriptors joined by colons, such as 3 or 3:4"),
            ("tap,id=n,ifname=t,queue=2", "-netdev: unknown key \"queue\"; did you mean \"queues\"?"),
            ("tap,id=n,ifname=t,queues=17", "-netdev: queues: \"17\" is not a number of queue pairs from 1 to 16"),
            ("tap,id=n,ifname=t,chardev=c", "-netdev: chardev: \"c\" belongs to vhost-user"),
            ("tap,id=n,ifname=t,macnat=on", "-netdev: \"macnat=on\" is not supported yet"),
            (
                "tap,id=n,fd=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17",
                "-netdev: fd: \"1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17\" is more than 16 descriptors"
            ),
            ("tap,id=n,fds=3:3", "-netdev: fds: \"3:3\" names a descriptor twice"),
            ("vhost-user,id=n", "-netdev: \"chardev\" is missing; write chardev=ID"),
            ("vhost-user,id=n,chardev=c,vhost=on", "-netdev: vhost: \"on\" belongs to tap"),
            ("vhost-user,id=n,chardev=c,ifname=t", "-netdev: ifname: \"t\" belongs to tap"),
        ])
    func badNetdev(text: String, expected: String) {
        #expect(message { () throws(OptionError) in try NetdevSpec.parse(text) } == expected)
    }

    // MARK: -object

    @Test("Objects of every type")
    func objects() throws {
        func parse(_ text: String) throws -> ObjectSpec { try ObjectSpec.parse(text) }
        #expect(try parse("iothread,id=io0") == .ioThread(IOThreadSpec(id: "io0")))
        #expect(try parse("rng-random,id=r,filename=/r") == .random(RandomSpec(id: "r", filename: "/r")))
        #expect(try parse("rng-random,id=r") == .random(RandomSpec(id: "r", filename: "/dev/urandom")))
        #expect(
            try parse("memory-backend-ram,id=m,size=2G,host-nodes=0-1,policy=bind,mem-prealloc=on")
                == .memory(
                    MemoryBackendSpec(
                        kind: .ram, id: "m", size: 2 << 30, hostNodes: [0, 1], policy: .bind, path: nil,
                        dumpsGuestCore: true, isShared: false, isPreallocated: true)))
        #expect(
            try parse("memory-backend-file,id=m,size=2,mem-path=/h,dump-guest-core=off,share=off")
                == .memory(
                    MemoryBackendSpec(
                        kind: .file, id: "m", size: 2 << 20, hostNodes: [], policy: .standard, path: "/h",
                        dumpsGuestCore: false, isShared: false, isPreallocated: false)))
        guard case .memory(let memfd) = try parse("memory-backend-memfd,id=m,size=2") else { throw Surprise() }
        #expect(memfd.isShared)
        #expect(memfd.kind == .memfd)
    }

    @Test(
        "Objects that are refused",
        arguments: [
            (
                "memory-backend-file,id=m,size=2",
                "-object memory-backend-file: \"mem-path\" is missing; write mem-path=PATH"
            ),
            (
                "memory-backend-ram,id=m,size=2,mem-path=/h",
                "-object memory-backend-ram: mem-path: \"/h\" belongs to memory-backend-file"
            ),
            ("memory-backend-ram,id=m,size=5K", "-object memory-backend-ram: size: \"5K\" is not a multiple of 4K"),
            (
                "memory-backend-ram,id=m,size=1,host-nodes=128",
                "-object memory-backend-ram: host-nodes: \"128\" is not a list of numbers below 128 such as 0-3:8"
            ),
            (
                "memory-backend-ram,id=m,size=1,policy=any",
                "-object memory-backend-ram: policy: \"any\" is not default, preferred, bind or interleave"
            ),
            ("rng-random,id=r,filename=", "-object rng-random: filename: \"\" is not a path of 1 to 4095 bytes"),
            ("iothread,id=a,qom-type=iothread", "-object iothread: unknown key \"qom-type\"; known keys: id"),
        ])
    func badObject(text: String, expected: String) {
        #expect(
            message { () throws(OptionError) in try ObjectSpec.parse(text) } == expected)
    }
}
