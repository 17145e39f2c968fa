import Control
import EventLoop
import Host
import Options
import TestSupport
import Testing
import Virtio

@testable import VMM

@Suite struct SlotManagerTests {
    // MARK: device_add

    @Test func aDiskGoesIntoTheFirstFreeSlot() throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", id: "disk") == "")
        #expect(rig.occupants == ["disk", nil, nil])
        #expect(rig.main.device(inSlot: 0)?.id == "disk" && rig.main.device(inSlot: 0) is BlockDevice)
        #expect(rig.backends.unusedDrives.isEmpty && !rig.control.operations.isBusy)
        try rig.addDrive("b", try TemporaryFile(size: 4096))
        #expect(try rig.addDisk("b") == "")
        #expect(rig.occupants == ["disk", "b", nil])
    }

    @Test func aClientMayChooseTheSlot() throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", slot: 1) == "")
        #expect(rig.occupants == [nil, "a", nil])
        try rig.addDrive("b", try TemporaryFile(size: 4096))
        #expect(try rig.addDisk("b", slot: 1) == "device_add: The slot 1 is occupied already.")
        #expect(
            try rig.addDisk("b", slot: 2)
                == "device_add: addr: there is no slot 2; this machine has 2 for this kind of device")
        #expect(rig.backends.unusedDrives.map(\.spec.id) == ["b"], "it is as good as before")
    }

    @Test func aNetworkCardGoesIntoASlotForOne() throws {
        let rig = try SlotRig()
        rig.backends.add(try HostEnds.netdev("n"))
        #expect(rig.add(.network(try HostEnds.nicSpec("n", ",id=nic"))) == "")
        #expect(rig.occupants == [nil, nil, "nic"] && rig.main.device(inSlot: 2) is NetDevice)
        rig.backends.add(try HostEnds.netdev("m"))
        #expect(
            rig.add(.network(try HostEnds.nicSpec("m")))
                == "device_add: all 1 places for this kind of device are occupied")
        #expect(rig.backends.unusedNetdevs.map(\.spec.id) == ["m"])
    }

    @Test func whatIsNotThereOrTakenIsNamed() throws {
        let rig = try SlotRig()
        #expect(try rig.addDisk("a") == "device_add: there is no node 'a'; blockdev-add it first")
        #expect(
            rig.add(.network(try HostEnds.nicSpec("n")))
                == "device_add: there is no unused netdev 'n'; netdev_add it first")
        try rig.addDrive("a")
        #expect(
            try rig.addDisk("a", iothread: "io0")
                == "device_add virtio-blk-device: iothread: no iothread has the id \"io0\"; there is no iothread")
        #expect(try rig.addDisk("a", id: "disk") == "")
        #expect(try rig.addDisk("a", id: "other") == "device_add: 'a' is in use by the device disk")
        #expect(try rig.addDisk("b", id: "disk") == "device_add: there is a device 'disk' already")
        #expect(
            rig.add(try DeviceSpec.parse("virtio-balloon-device"))
                == "device_add: a virtio-balloon-device cannot be plugged into a running MicroVm; give it as -device")
    }

    @Test func withoutHotPlugNothingIsOpened() throws {
        let rig = try SlotRig(disks: 0, nics: 0, takesDevices: false)
        #expect(throws: QMPError.self) { try rig.slots.checkTakesDevices("blockdev-add") }
        try rig.addDrive("a")
        #expect(
            try rig.addDisk("a")
                == "device_add: this machine has no spare place; start it with -machine microvm,hotplug=on")
        #expect(
            try rig.addDisk("a", slot: 0)
                == "device_add: addr: there is no slot 0; this machine has 0 for this kind of device, start it with "
                + "-machine microvm,hotplug=on")
    }

    // MARK: A running guest

    @Test func noVCPURunsWhileTheDeviceChanges() throws {
        let rig = try SlotRig()
        try rig.control.control.start()
        rig.control.holdAll()
        try rig.addDrive("a")
        var answer: String?
        rig.slots.add(.block(try HostEnds.blockSpec("a")), slot: nil) { answer = $0?.description ?? "" }
        for _ in 0..<4 { rig.reactor.turn(waiting: false) }
        #expect(rig.occupants == [nil, nil, nil] && answer == nil)
        #expect(rig.control.vcpus.calls == ["resume", "pause"])
        rig.control.vcpus.notePaused()
        #expect(rig.occupants == ["a", nil, nil])
        #expect(rig.control.vcpus.calls == ["resume", "pause", "resume"])
        while answer == nil { rig.reactor.turn(waiting: true) }
        #expect(answer == "")
    }

    @Test func aPausedGuestStaysPaused() throws {
        let rig = try SlotRig()
        try rig.control.control.start()
        #expect(rig.answer { rig.control.control.pause($0) } == "")
        try rig.addDrive("a")
        #expect(try rig.addDisk("a") == "")
        #expect(rig.control.vcpus.calls == ["resume", "pause"])
        #expect(rig.control.control.state == .paused)
    }

    @Test func theQuickerOfTwoCommandsGetsTheSlot() throws {
        let rig = try SlotRig(disks: 1)
        try rig.control.control.start()
        rig.control.vcpus.answersAtOnce = false
        let other = try TemporaryFile(size: 4096)
        try rig.addDrive("a")
        try rig.addDrive("b", other)
        var answers: [String] = []
        for id in ["a", "b"] {
            rig.slots.add(.block(try HostEnds.blockSpec(id)), slot: nil) { answers.append($0?.description ?? "") }
        }
        rig.control.vcpus.notePaused()
        while answers.count < 2 { rig.reactor.turn(waiting: true) }
        #expect(answers == ["", "device_add: device: another command has been quicker"])
        #expect(rig.occupants == ["a", nil] && rig.backends.unusedDrives.map(\.spec.id) == ["b"])
    }

    @Test func nothingIsPluggedInAfterTheEnd() throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        rig.control.control.end(.quit)
        #expect(try rig.addDisk("a") == "device_add: device: the machine is ending")
        #expect(rig.occupants == [nil, nil, nil] && rig.backends.unusedDrives.count == 1)
    }

    @Test func anImageThatIsLockedElsewhereIsGivenBack() throws {
        let rig = try SlotRig()
        try rig.control.control.start()
        try rig.addDrive("a")
        let holder = try FileLock(rig.image.path)
        #expect(try rig.addDisk("a").hasPrefix("device_add: -drive id=a: "))
        #expect(rig.occupants == [nil, nil, nil] && rig.backends.unusedDrives.count == 1)
        holder.release()
        #expect(try rig.addDisk("a") == "")
    }

    // MARK: device_del

    @Test func anUnpluggedDeviceTakesItsBackendAlong() throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", id: "disk") == "")
        rig.backends.add(try HostEnds.netdev("n"))
        #expect(rig.add(.network(try HostEnds.nicSpec("n", ",id=nic"))) == "")
        #expect(rig.remove("disk") == "" && rig.remove("nic") == "")
        #expect(rig.occupants == [nil, nil, nil])
        #expect(rig.main.device(inSlot: 0) is NullBlockDevice && rig.main.device(inSlot: 2) is NullNetDevice)
        #expect(rig.control.clients.events == [.deviceDeleted("disk"), .deviceDeleted("nic")])
        // Some clients remove the backend all the same, once.
        let inventory = rig.slots.inventory
        try rig.backends.removeDrive("a", beside: inventory)
        try rig.backends.removeNetdev("n", beside: inventory)
        #expect(throws: QMPError.self) { try rig.backends.removeDrive("a", beside: inventory) }
        #expect(throws: QMPError.self) { try rig.backends.removeNetdev("n", beside: inventory) }
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", id: "disk") == "", "everything is free again")
    }

    @Test func whatCannotGoStays() throws {
        let rig = try SlotRig(disks: 0, nics: 0)
        let device = FakeDevice("rng0")
        try rig.addSlot(.fixed, device)
        #expect(rig.remove("rng0") == "device_del: 'rng0' cannot be unplugged; only disks and network cards can")
        #expect(rig.remove("x") == "device_del: Device x not found")
        #expect(rig.occupants == ["rng0"] && !device.isFinished)
        rig.slots.finish()
        #expect(device.isFinished)
    }

    @Test func aDeviceIsTakenOutOnce() throws {
        let rig = try SlotRig()
        try rig.addDrive("a")
        #expect(try rig.addDisk("a") == "")
        try rig.control.control.start()
        rig.control.vcpus.answersAtOnce = false
        var answers: [String] = []
        for _ in 0..<2 { rig.slots.remove("a") { answers.append($0?.description ?? "") } }
        rig.control.vcpus.notePaused()
        while answers.count < 2 { rig.reactor.turn(waiting: true) }
        #expect(answers == ["", "device_del: device: another command has been quicker"])
        #expect(rig.control.clients.events == [.deviceDeleted("a")])
    }

    // MARK: Iothreads

    @Test func aDiskLivesOnItsIOThread() throws {
        let rig = try SlotRig()
        #expect(try rig.addIOThread("io0") == "")
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", iothread: "io0") == "")
        #expect(rig.occupants == ["a", nil, nil] && rig.main.device(inSlot: 0) == nil)
        let thread = try #require(rig.iothreads["io0"])
        #expect(try thread.perform { $0.device(inSlot: 0)?.id } == "a")
        #expect(rig.removeIOThread("io0") == "object-del: 'io0' is in use by the device a")
        #expect(rig.remove("a") == "")
        #expect(rig.main.device(inSlot: 0) is NullBlockDevice)
        #expect(try thread.perform { $0.device(inSlot: 0)?.id } == nil)
        #expect(rig.removeIOThread("io0") == "")
    }

    @Test func anIOThreadStaysForADeviceThatWaits() throws {
        let rig = try SlotRig()
        #expect(try rig.addIOThread("io0") == "")
        try rig.addDrive("a")
        var done: (() -> Void)?
        rig.control.operations.add { done = $0 }
        var answer: String?
        rig.slots.add(.block(try HostEnds.blockSpec("a", iothread: "io0")), slot: nil) {
            answer = $0?.description ?? ""
        }
        #expect(rig.removeIOThread("io0").hasSuffix("try again"))
        done?()
        while answer == nil { rig.reactor.turn(waiting: true) }
        #expect(answer == "" && rig.occupants == ["a", nil, nil])
    }

    // MARK: Reports and drains

    @Test func reportsComeFromEveryReactorInTheOrderOfSlots() throws {
        let rig = try SlotRig()
        #expect(try rig.addIOThread("io0") == "")
        try rig.addDrive("a")
        #expect(try rig.addDisk("a", iothread: "io0") == "")
        var reports: [DeviceReport]?
        rig.slots.readReports { reports = $0 }
        while reports == nil { rig.reactor.turn(waiting: true) }
        #expect(reports?.map(\.slot) == [0, 1, 2])
        #expect(reports?.map(\.id) == ["a", "slot 1", "slot 2"])
    }

    @Test func everyReactorIsDrained() throws {
        let rig = try SlotRig()
        #expect(try rig.addIOThread("io0") == "")
        try rig.control.control.start()
        #expect(rig.answer { rig.control.control.pause($0) } == "")
        #expect(rig.answer { rig.control.control.resume($0) } == "")
        rig.control.control.end(.quit)
        rig.reactor.run()
        #expect(rig.control.control.state == .ending)
    }
}
