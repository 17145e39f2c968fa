import Control
import EventLoop
import Host
import Options
import TestSupport
import Testing
import Virtio

@testable import VMM

@Suite struct DeviceSettingsTests {
    // MARK: block_resize

    @Test(arguments: ["a", "disk"])
    func aDiskGrowsUnderEitherName(name: String) throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", id: "disk") == "")
        let settings = DeviceSettings(slots: rig.slots)
        #expect(rig.answer { settings.resizeDisk(name, to: 1 << 20, $0) } == "")
        #expect(try FileStatus(at: rig.image.path).size == 1 << 20)
        #expect(rig.slots.inventory.disks.first?.info.size == 1 << 20)
        let smaller = rig.answer { settings.resizeDisk(name, to: 4096, $0) }
        #expect(smaller.hasPrefix("block_resize: node a: "), "\(smaller)")
    }

    @Test func aDiskThatIsNotThereIsNamed() throws {
        let rig = try SlotRig()
        try rig.addSlot(.fixed, FakeDevice("rng0"))
        let settings = DeviceSettings(slots: rig.slots)
        #expect(rig.answer { settings.resizeDisk("x", to: 1, $0) } == "block_resize: there is no disk 'x'")
        #expect(rig.answer { settings.resizeDisk("rng0", to: 1, $0) } == "block_resize: there is no disk 'rng0'")
        #expect(rig.answer { settings.limitDisk("x", iops: 1, $0) } == "block_set_io_throttle: there is no disk 'x'")
    }

    // MARK: block_set_io_throttle

    @Test func aDisksLimitIsTold() throws {
        let rig = try SlotRig()
        #expect(try rig.addIOThread("io0") == "")
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", iothread: "io0") == "")
        let settings = DeviceSettings(slots: rig.slots)
        #expect(rig.answer { settings.limitDisk("a", iops: 500, $0) } == "")
        #expect(rig.slots.inventory.disks.first?.info.iops == 500)
    }

    /// Such a command used to succeed.
    @Test func aDiskThatHasJustGoneKeepsItsLimit() throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        #expect(try rig.addDisk("a") == "")
        let disk = try #require(rig.slots.inventory.disks.first)
        let settings = DeviceSettings(slots: rig.slots)
        try rig.control.control.start()
        rig.control.vcpus.answersAtOnce = false
        rig.slots.remove("a") { _ in }
        var answer: String?
        settings.limitDisk("a", iops: 500) { answer = $0?.description ?? "" }
        rig.control.vcpus.notePaused()
        while answer == nil { rig.reactor.turn(waiting: true) }
        #expect(answer == "the disk 'a' has just been unplugged")
        #expect(disk.iops == 0)
    }

    // MARK: set_link

    @Test func aCardHasTwoNames() throws {
        let rig = try SlotRig()
        rig.backends.add(try HostEnds.netdev("n"))
        #expect(rig.add(.network(try HostEnds.nicSpec("n", ",id=nic"))) == "")
        let settings = DeviceSettings(slots: rig.slots)
        for name in ["n", "nic"] {
            for isUp in [false, true] { #expect(rig.answer { settings.setLink(name, up: isUp, $0) } == "") }
        }
        #expect(rig.answer { settings.setLink("x", up: true, $0) } == "set_link: Device 'x' not found")
        #expect(rig.remove("nic") == "")
        #expect(rig.answer { settings.setLink("nic", up: true, $0) } == "set_link: Device 'nic' not found")
    }

    @Test func aCommandWaitsForADeviceThatIsPluggedIn() throws {
        let rig = try SlotRig()
        var done: (() -> Void)?
        rig.control.operations.add { done = $0 }
        var answer: String?
        DeviceSettings(slots: rig.slots).setLink("x", up: true) { answer = $0?.description ?? "" }
        #expect(answer == nil)
        done?()
        #expect(answer == "set_link: Device 'x' not found")
    }
}
