import Testing

@testable import Options

@Suite("Specs of devices")
struct DeviceSpecTests {
    private func parse(_ text: String) throws(OptionError) -> DeviceSpec {
        try DeviceSpec.parse(text)
    }

    @Test("A disk with every key")
    func block() throws {
        #expect(
            try parse(
                "virtio-blk-device,drive=d,id=b,serial=12345678901234567890,iothread=io,num-queues=32,queue-size=1024,"
                    + "bootindex=255")
                == .block(
                    BlockDeviceSpec(
                        id: "b", drive: "d", serial: "12345678901234567890", iothread: "io", bootIndex: 255, queues: 32,
                        queueSize: 1024)))
    }

    @Test("A network card with every key")
    func network() throws {
        let device = try parse(
            "virtio-net-device,netdev=n,id=c,mac=12:34:56:78:9A:BC,iothread=a,rx-iothread=b,tx-iothread=c,mq=on,"
                + "queue-size=4096,vectors=0")
        #expect(
            device
                == .network(
                    NetworkDeviceSpec(
                        id: "c", netdev: "n", mac: MACAddress("12:34:56:78:9a:bc"), iothread: "a",
                        receiveIOThread: "b", transmitIOThread: "c", isMultiqueue: true, queueSize: 4096)))
        #expect(device.iothreads.map(\.id) == ["a", "b", "c"])
        #expect(device.iothreads.map(\.key) == ["iothread", "rx-iothread", "tx-iothread"])
    }

    @Test("Vsock by the kernel and by apus, under both names")
    func vsock() throws {
        #expect(
            try parse("vhost-vsock-device,id=v,guest-cid=4294967295,vhostfd=3")
                == .vsock(VsockDeviceSpec(id: "v", guestCID: .max, vhostDescriptor: 3, socket: nil)))
        #expect(
            try parse("virtio-vsock-device,guest-cid=3,socket=/run/v.sock")
                == .vsock(VsockDeviceSpec(id: nil, guestCID: 3, vhostDescriptor: nil, socket: "/run/v.sock")))
    }

    @Test("The serial bus and its ports")
    func serial() throws {
        #expect(
            try parse("virtio-serial-device,id=s,max-ports=4") == .serialBus(SerialBusSpec(id: "s", maximumPorts: 4)))
        #expect(
            try parse("virtconsole,chardev=c,nr=0") == .console(SerialPortSpec(id: nil, chardev: "c", number: 0)))
        #expect(
            try parse("virtserialport,chardev=c,id=p,nr=30")
                == .serialPort(SerialPortSpec(id: "p", chardev: "c", number: 30)))
    }

    @Test(
        "The limit of an entropy device, at both ends",
        arguments: [
            ("max-bytes=64,period=1000", 64, 1000), ("max-bytes=1000000000,period=1000", 1_000_000_000, 1000),
            ("period=1,max-bytes=1000000", 1_000_000, 1),
        ] as [(String, UInt64, UInt64)])
    func entropy(keys: String, bytes: UInt64, period: UInt64) throws {
        #expect(
            try parse("virtio-rng-device,rng=r,\(keys)")
                == .entropy(
                    EntropyDeviceSpec(
                        id: nil, source: "r", limit: EntropyDeviceSpec.Limit(bytes: bytes, period: period))))
    }

    @Test("Balloons; the numbers of auto-balloon count only with it")
    func balloon() throws {
        #expect(
            try parse("virtio-balloon-device,deflate-on-oom=true,free-page-reporting=true,membuf-percent=99")
                == .balloon(
                    BalloonDeviceSpec(
                        id: nil, deflatesOnOutOfMemory: true, reportsFreePages: true, automatic: nil)))
        #expect(
            try parse("virtio-balloon-device,auto-balloon=true,monitor-interval=300")
                == .balloon(
                    BalloonDeviceSpec(
                        id: nil, deflatesOnOutOfMemory: false, reportsFreePages: false,
                        automatic: BalloonDeviceSpec.Automatic(bufferPercent: 50, interval: 300))))
    }

    @Test("A shared directory with the longest tag")
    func fileSystem() throws {
        let tag = String(repeating: "t", count: 35)
        #expect(
            try parse("vhost-user-fs-device,chardev=c,tag=\(tag),id=f")
                == .fileSystem(FileSystemDeviceSpec(id: "f", chardev: "c", tag: tag)))
    }

    @Test("An empty id is none")
    func emptyID() throws {
        #expect(try parse("virtio-balloon-device,id=").id == nil)
    }

    @Test(
        "Devices that are refused",
        arguments: [
            ("virtio-net-device", "virtio-net-device: \"netdev\" is missing; write netdev=ID"),
            (
                "virtio-net-device,netdev=n,mac=52:54:00",
                "virtio-net-device: mac: \"52:54:00\" is not a MAC address such as 52:54:00:12:34:56"
            ),
            (
                "virtio-net-device,netdev=n,queue-size=128",
                "virtio-net-device: queue-size: \"128\" is not a power of two from 256 to 4096"
            ),
            (
                "virtio-net-device,netdev=n,addr=0x2.0x0",
                "virtio-net-device: \"addr\" is for PCI devices; a MicroVm has no PCI; leave it out"
            ),
            ("vhost-vsock-device,id=v", "vhost-vsock-device: \"guest-cid\" is missing; write guest-cid=N"),
            (
                "vhost-vsock-device,guest-cid=2",
                "vhost-vsock-device: guest-cid: \"2\" is not a context id from 3 to 4294967295"
            ),
            (
                "vhost-vsock-device,guest-cid=4294967296",
                "vhost-vsock-device: guest-cid: \"4294967296\" is not a context id from 3 to 4294967295"
            ),
            (
                "vhost-vsock-device,guest-cid=3,vhostfd=-1",
                "vhost-vsock-device: vhostfd: \"-1\" is not a file descriptor from 0 to 2147483647"
            ),
            (
                "virtio-vsock-device,guest-cid=3,vhostfd=3,socket=/s",
                "virtio-vsock-device: socket: \"/s\" and vhostfd exclude each other; "
                    + "either apus serves the device or the kernel does"
            ),
            (
                "virtio-serial-device,max-ports=32",
                "virtio-serial-device: max-ports: \"32\" is not a number of ports from 1 to 31"
            ),
            ("virtconsole,nr=0", "virtconsole: \"chardev\" is missing; write chardev=ID"),
            ("virtconsole,chardev=c,nr=31", "virtconsole: nr: \"31\" is not the number of a port from 0 to 30"),
            (
                "virtserialport,chardev=c,nr=0",
                "virtserialport: nr: \"0\" is for a virtconsole; a virtserialport has a number from 1 to 30"
            ),
            ("virtio-rng-device", "virtio-rng-device: \"rng\" is missing; write rng=ID"),
            (
                "virtio-rng-device,rng=r,period=1000",
                "virtio-rng-device: period: \"1000\" needs max-bytes=N; give both or neither"
            ),
            (
                "virtio-rng-device,rng=r,max-bytes=1000",
                "virtio-rng-device: max-bytes: \"1000\" needs period=N; give both or neither"
            ),
            (
                "virtio-rng-device,rng=r,max-bytes=63,period=1000",
                "virtio-rng-device: max-bytes: \"63\" in 1000 ms is not a rate from 64 to 1000000000 bytes a second"
            ),
            (
                "virtio-rng-device,rng=r,max-bytes=1000000001,period=1000",
                "virtio-rng-device: max-bytes: \"1000000001\" in 1000 ms is not a rate from 64 to 1000000000 bytes a second"
            ),
            (
                "virtio-rng-device,rng=r,max-bytes=18446744073709551615,period=1",
                "virtio-rng-device: max-bytes: \"18446744073709551615\" in 1 ms is not a rate from 64 to 1000000000 "
                    + "bytes a second"
            ),
            (
                "virtio-rng-device,rng=r,max-bytes=1,period=0",
                "virtio-rng-device: period: \"0\" is not a number of milliseconds from 1 to 18446744073709551615"
            ),
            (
                "virtio-balloon-device,deflate-on-oom=on",
                "virtio-balloon-device: deflate-on-oom: \"on\" is not true or false"
            ),
            (
                "virtio-balloon-device,auto-balloon=true,membuf-percent=81",
                "virtio-balloon-device: membuf-percent: \"81\" is not a share in per cent from 20 to 80"
            ),
            (
                "virtio-balloon-device,auto-balloon=true,membuf-percent=19",
                "virtio-balloon-device: membuf-percent: \"19\" is not a share in per cent from 20 to 80"
            ),
            (
                "virtio-balloon-device,auto-balloon=true,monitor-interval=4",
                "virtio-balloon-device: monitor-interval: \"4\" is not a number of seconds from 5 to 300"
            ),
            (
                "virtio-balloon-device,auto-balloon=true,monitor-interval=301",
                "virtio-balloon-device: monitor-interval: \"301\" is not a number of seconds from 5 to 300"
            ),
            ("vhost-user-fs-device,chardev=c", "vhost-user-fs-device: \"tag\" is missing; write tag=TEXT"),
            (
                "vhost-user-fs-device,chardev=c,tag=123456789012345678901234567890123456",
                "vhost-user-fs-device: tag: \"123456789012345678901234567890123456\" is not a tag of 1 to 35 bytes"
            ),
        ])
    func refused(text: String, expected: String) {
        #expect(message { () throws(OptionError) in try parse(text) } == "-device \(expected)")
    }

    @Test("Every type's name leads back to it", arguments: DeviceType.all.flatMap(\.names))
    func names(name: String) {
        #expect(DeviceType.named(name) != nil)
    }

    @Test("Every example is taken", arguments: DeviceType.all.map(\.example))
    func examples(example: String) throws {
        let device = try parse(example)
        #expect(DeviceType.named(device.type)?.names.contains { example.hasPrefix($0) } == true)
    }
}
