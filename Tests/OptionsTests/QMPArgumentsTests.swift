import Testing

@testable import Options

@Suite("Arguments of QMP commands")
struct QMPArgumentsTests {
    /// Pairs written as `key=value`, blanks between them.
    private func pairs(_ text: String) -> [KeyValue] {
        text.split(separator: " ").map { pair in
            let ends = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return KeyValue(String(ends[0]), ends.count > 1 ? String(ends[1]) : nil)
        }
    }

    // MARK: blockdev-add

    @Test("Kata's blockdev-add")
    func kataDrive() throws {
        let drive = try QMPArguments.blockdevAdd(
            pairs(
                "driver=raw read-only=true node-name=drive-1 file.driver=host_device file.filename=/dev/x file.aio=native"
            ))
        #expect(
            drive
                == DriveSpec(
                    id: "drive-1", file: "/dev/x", isReadOnly: true, isDirect: true, asynchronousIO: .native,
                    maximumIOPS: nil, media: .disk, discards: false, zeroDetection: .off))
    }

    @Test(
        "Engines, as JSON spells them or left out",
        arguments: [
            ("", true, .native), ("cache.direct=true", true, .native), ("cache.direct=false", false, .off),
            ("cache.direct=false file.aio=off", false, .off), ("cache.direct=false cache.no-flush=false", false, .off),
            ("file.aio=iouring", true, .ioUring), ("file.aio=IoUring", true, .ioUring),
            ("file.aio=io_uring", true, .ioUring),
            ("file.aio=Threads cache.direct=false", false, .threads), ("file.aio=Native", true, .native),
        ] as [(String, Bool, DriveSpec.AsynchronousIO)])
    func engines(members: String, isDirect: Bool, engine: DriveSpec.AsynchronousIO) throws {
        let drive = try QMPArguments.blockdevAdd(pairs("node-name=d file.driver=file file.filename=/d \(members)"))
        #expect(drive.isDirect == isDirect)
        #expect(drive.asynchronousIO == engine)
    }

    @Test("What blockdev-add has besides")
    func driveMembers() throws {
        let drive = try QMPArguments.blockdevAdd(
            pairs("node-name=d file.filename=/d throttling.iops-total=5 discard=unmap detect-zeroes=on media=cdrom"))
        #expect(drive.maximumIOPS == 5)
        #expect(drive.discards)
        #expect(drive.zeroDetection == .on)
        #expect(drive.media == .cdrom)
    }

    @Test(
        "Bad blockdev-add",
        arguments: [
            ("file.filename=/d", "\"node-name\" is missing"),
            ("node-name=d", "\"file.filename\" is missing"),
            (
                "node-name=d file.filename=/d file.aio=libaio",
                "file.aio: \"libaio\" is not off, native, io_uring or threads"
            ),
            (
                "node-name=d file.filename=/d file.discard=unmap",
                "unknown key \"file.discard\"; known keys: node-name, file.filename, read-only, cache.direct, file.aio, "
                    + "throttling.iops-total, discard, detect-zeroes, media, driver, l2-cache-size, refcount-cache-size"
            ),
            ("node-name=d file.filename=/d readonly=true", "unknown key \"readonly\"; did you mean \"read-only\"?"),
            ("node-name=d file.filename=/d driver=qcow2", "\"format=qcow2\" is not supported yet"),
            ("node-name=d file.filename=/d read-only=1", "read-only: \"1\" is not on or off"),
            (
                "node-name=d file.filename=/d file.aio=native cache.direct=false",
                "file.aio: \"native\" needs cache.direct to be on; or choose io_uring, threads or off"
            ),
        ])
    func badDrive(members: String, expected: String) {
        #expect(
            message { () throws(OptionError) in try QMPArguments.blockdevAdd(pairs(members)) }
                == "blockdev-add: \(expected)")
    }

    // MARK: device_add

    @Test(
        "Disks and their slots",
        arguments: [
            ("addr=1", 1), ("addr=0x3", 3), ("addr=0x0A", 10), ("lun=0", 1), ("lun=2 addr=1", 1), ("", nil),
            ("addr=0 romfile= share-rw=true disable-modern=false logical_block_size=512 bus=pci.0", 0),
        ] as [(String, Int?)])
    func slots(members: String, slot: Int?) throws {
        let plug = try QMPArguments.deviceAdd(pairs("id=d driver=virtio-blk-mmio drive=d \(members)"))
        #expect(plug.slot == slot)
        guard case .block(let disk) = plug.device else { throw Surprise() }
        #expect(disk.id == "d")
        #expect(disk.drive == "d")
    }

    @Test("A disk with everything, and one whose drive has its id")
    func disk() throws {
        let plug = try QMPArguments.deviceAdd(
            pairs("driver=virtio-blk-device id=d drive=x serial=s iothread=io boot_index=1 num-queues=2 queue-size=128")
        )
        #expect(
            plug.device
                == .block(
                    BlockDeviceSpec(
                        id: "d", drive: "x", serial: "s", iothread: "io", bootIndex: 1, queues: 2, queueSize: 128)))
        guard case .block(let disk) = try QMPArguments.deviceAdd(pairs("id=d driver=virtio-blk-mmio")).device else {
            throw Surprise()
        }
        #expect(disk.drive == "d")
    }

    @Test("A network card, with the chardev that StratoVirt asks for")
    func card() throws {
        let plug = try QMPArguments.deviceAdd(
            pairs("id=net-0 driver=virtio-net-mmio addr=0x0 chardev=any mac=52:54:00:12:34:56"))
        guard case .network(let card) = plug.device else { throw Surprise() }
        #expect(card.netdev == "net-0")
        #expect(card.mac?.description == "52:54:00:12:34:56")
        #expect(plug.slot == 0)
    }

    @Test(
        "Bad device_add",
        arguments: [
            ("driver=virtio-blk-mmio", "device_add: \"id\" is missing"),
            ("id= driver=virtio-blk-mmio", "device_add: \"id\" is missing"),
            ("id=d", "device_add: \"driver\" is missing"),
            ("id=d driver=virtio-blk-mmio addr=0x", "device_add: addr: \"0x\" is not the number of a slot"),
            ("id=d driver=virtio-blk-mmio addr=-1", "device_add: addr: \"-1\" is not the number of a slot"),
            ("id=d driver=virtio-blk-mmio addr=256", "device_add: addr: \"256\" is not the number of a slot"),
            ("id=d driver=virtio-blk-mmio addr=1 addr=2", "device_add: \"addr\" is given twice"),
            ("id=d driver=virtio-blk-mmio lun=255", "device_add: lun: \"255\" is not a unit from 0 to 254"),
            (
                "id=d driver=virtio-blk-mmio boot_index=256",
                "device_add virtio-blk-device: boot_index: \"256\" is not a boot index from 0 to 255"
            ),
            (
                "id=d driver=virtio-blk-mmio host=1",
                "device_add virtio-blk-device: unknown key \"host\"; known keys: drive, id, serial, iothread, num-queues, queue-size, boot_index"
            ),
            (
                "id=d driver=virtio-blk-pci",
                "device_add: \"virtio-blk-pci\" needs PCI, and there is no PCI on MicroVm; use virtio-blk-device"
            ),
            ("id=d driver=e1000", "device_add: unsupported device \"e1000\"; -help lists those that there are"),
        ])
    func badDevice(members: String, expected: String) {
        let found = message { () throws(OptionError) in try QMPArguments.deviceAdd(pairs(members)).device }
        #expect(found == expected)
    }

    // MARK: netdev_add, object-add

    @Test("Network back ends, with descriptors by number and by name")
    func netdevs() throws {
        func add(_ members: String) throws(OptionError) -> NetdevSpec {
            try QMPArguments.netdevAdd(pairs(members), descriptors: ["tapfd": 7, "vh": 9])
        }
        #expect(
            try add("id=n fds=tapfd:8 vhost=true vhostfds=vh:10 queues=2 script=no downscript=no dnssearch=x")
                == NetdevSpec(
                    id: "n",
                    backend: .tap(
                        TapSpec(interface: nil, descriptors: [7, 8], usesVhost: true, vhostDescriptors: [9, 10])),
                    queuePairs: 2))
        #expect(try add("id=n type=tap ifname=tap0").queuePairs == 1)
        #expect(
            message { () throws(OptionError) in try add("id=n fd=other") }
                == "netdev_add: fd: \"other\" is not file descriptors joined by colons, such as 3 or 3:4")
        #expect(message { () throws(OptionError) in try add("ifname=t") } == "netdev_add: \"id\" is missing")
    }

    @Test("Objects")
    func objects() throws {
        #expect(try QMPArguments.objectAdd(pairs("id=io qom-type=iothread")) == .ioThread(IOThreadSpec(id: "io")))
        #expect(
            message { () throws(OptionError) in try QMPArguments.objectAdd(pairs("qom-type=iothread")) }
                == "object-add iothread: \"id\" is missing")
    }
}
