import Control
import Host
import Options
import TestSupport
import Testing

@testable import VMM

@Suite struct InventoryTests {
    private let image: TemporaryFile
    private let other: TemporaryFile

    init() throws {
        image = try TemporaryFile(size: 4096)
        other = try TemporaryFile(size: 4096)
    }

    private func message(_ body: () throws(QMPError) -> Void) -> String? {
        do throws(QMPError) {
            try body()
            return nil
        } catch {
            return error.description
        }
    }

    // MARK: Names and limits

    @Test func aDrivesIDIsTakenWhetherADiskHasItOrNot() throws {
        var inventory = Inventory(limits: .microvm)
        inventory.devices = [try HostEnds.disk(try HostEnds.drive("a", image), id: "disk")]
        inventory.unusedDrives = [try HostEnds.drive("b", other)]
        for id in ["a", "b"] {
            #expect(
                message { () throws(QMPError) in try inventory.checkDrive(id, in: "blockdev-add") }
                    == "blockdev-add: \(id) is registered already; choose another node-name")
        }
        #expect(message { () throws(QMPError) in try inventory.checkDrive("disk", in: "x") } == nil)
    }

    @Test func drivesOfBothKindsCount() throws {
        var inventory = Inventory(limits: .microvm)
        inventory.limits.disks = 2
        inventory.devices = [try HostEnds.disk(try HostEnds.drive("a", image))]
        #expect(message { () throws(QMPError) in try inventory.checkDrive("c", in: "x") } == nil)
        inventory.unusedDrives = [try HostEnds.drive("b", other)]
        #expect(
            message { () throws(QMPError) in try inventory.checkDrive("c", in: "x") }
                == "x: a MicroVm has at most 2 disks")
    }

    @Test func netdevsAreCheckedTheSameWay() throws {
        var inventory = Inventory(limits: .microvm)
        inventory.devices = [try NIC(try HostEnds.netdev("a"), try HostEnds.nicSpec("a", ",id=nic"), beside: inventory)]
        inventory.unusedNetdevs = [try HostEnds.netdev("b")]
        for id in ["a", "b"] {
            #expect(
                message { () throws(QMPError) in try inventory.checkNetdev(id, in: "x") }
                    == "x: \(id) is registered already; choose another id")
        }
        #expect(
            message { () throws(QMPError) in try inventory.checkNetdev("c", in: "x") }
                == "x: a MicroVm has at most 2 network cards")
        inventory.unusedNetdevs = []
        #expect(message { () throws(QMPError) in try inventory.checkNetdev("c", in: "x") } == nil)
    }

    @Test func anIOThreadsIDIsThatOfNoObject() {
        var inventory = Inventory(limits: .microvm)
        inventory.iothreads = ["io0"]
        inventory.objects = ["io0", "rng0"]
        for id in ["io0", "rng0"] {
            #expect(
                message { () throws(QMPError) in try inventory.checkIOThread(id, in: "x") }
                    == "x: there is an object '\(id)' already")
        }
        #expect(message { () throws(QMPError) in try inventory.checkIOThread("io1", in: "x") } == nil)
        inventory.limits.iothreads = 1
        #expect(
            message { () throws(QMPError) in try inventory.checkIOThread("io1", in: "x") }
                == "x: a MicroVm has at most 1 iothreads")
    }

    @Test func theCommandLinesIOThreadsAreNotObjectsThatStay() throws {
        let options = try options("-object iothread,id=io0 -object rng-random,id=r -device virtio-rng-device,rng=r")
        #expect(options.otherObjects.map(\.id) == ["r"] && options.iothreads.map(\.id) == ["io0"])
    }

    @Test func aDevicesIDIsTaken() {
        let inventory = Inventory(limits: .microvm, devices: [FakeDevice("a")])
        #expect(
            message { () throws(QMPError) in try inventory.checkDevice("a", in: "x") }
                == "x: there is a device 'a' already")
        #expect(message { () throws(QMPError) in try inventory.checkDevice("b", in: "x") } == nil)
    }

    @Test func theLimitsAreTheCommandLines() throws {
        let limits = try options("").limits
        #expect(limits.disks == Limits.microvm.disks)
        #expect(limits.nics == Limits.microvm.nics)
        #expect(limits.iothreads == Limits.microvm.iothreads)
    }

    // MARK: Conflicts

    @Test(arguments: [("", "", true), (",readonly=on", "", true), ("", ",readonly=on", true)])
    func anImageThatIsWrittenIsOneDrives(first: String, second: String, conflicts: Bool) throws {
        let drive = try HostEnds.drive("a", image, first)
        let inventory = Inventory(limits: .microvm, devices: [try HostEnds.disk(drive)])
        #expect(inventory.drive(conflictingWith: try HostEnds.drive("b", image, second)) === drive)
        #expect(inventory.drive(conflictingWith: try HostEnds.drive("b", other, second)) == nil)
    }

    @Test func anImageThatIsReadCanBeSeveralDrives() throws {
        let inventory = Inventory(limits: .microvm, unusedDrives: [try HostEnds.drive("a", image, ",readonly=on")])
        #expect(inventory.drive(conflictingWith: try HostEnds.drive("b", image, ",readonly=on")) == nil)
    }

    @Test func anImageThatWasHandedOverIsCheckedBeforeItIsTouched() throws {
        let reader = try HostEnds.driveSpec("a", image.path, ",readonly=on")
        let file = try FileDescriptor.open(image.path, .readOnly)
        let inventory = Inventory(
            limits: .microvm, unusedDrives: [try Drive(reader, "a", handedOver: try file.duplicate())])
        let status = try FileStatus(of: file)
        #expect(inventory.conflict(of: reader, on: status) == nil)
        #expect(inventory.conflict(of: reader, on: try FileStatus(at: other.path)) == nil)
        let writer = try HostEnds.driveSpec("b", image.path)
        guard case .written? = inventory.conflict(of: writer, on: status) else {
            Issue.record("it would be written")
            return
        }
        let direct = try DriveSpec.parse("id=b,file=\(image.path),readonly=on,direct=on")
        guard case .sharedButNotDirect? = inventory.conflict(of: direct, on: status) else {
            Issue.record("the file is direct for both or for none")
            return
        }
    }

    @Test func addressesAreDifferentAndUsable() throws {
        var inventory = Inventory(limits: .microvm)
        let mac = "52:54:00:12:34:56"
        inventory.devices = [
            try NIC(try HostEnds.netdev("a"), try HostEnds.nicSpec("a", ",id=nic,mac=\(mac)"), beside: inventory)
        ]
        func problem(_ keys: String) -> String? {
            do {
                _ = try inventory.macAddress(for: try HostEnds.nicSpec("b", keys), "here")
                return nil
            } catch {
                return "\(error)"
            }
        }
        #expect(problem(",mac=\(mac)") == "here: mac=\(mac) is also the address of 'nic'; use another one")
        #expect(problem(",mac=00:00:00:00:00:00")?.contains("is not a unicast address") == true)
        #expect(problem(",mac=53:54:00:12:34:57")?.contains("is not a unicast address") == true)
        #expect(problem(",mac=52:54:00:12:34:57") == nil)
        let random = try inventory.macAddress(for: try HostEnds.nicSpec("b"), "here")
        #expect(random.isUsable && random.octets[0] & 2 != 0)
    }

    // MARK: Users

    @Test func tellsWhoUsesWhat() throws {
        let disk = try HostEnds.disk(try HostEnds.drive("a", image), id: "disk")
        let nic = try NIC(
            try HostEnds.netdev("n"), try HostEnds.nicSpec("n", ",id=nic"), beside: Inventory(limits: .microvm))
        let (owner, helper) = (FakeDevice("x", iothread: "io0"), FakeDevice("y", iothread: "io1", helper: "io2"))
        let inventory = Inventory(limits: .microvm, devices: [disk, nic, owner, helper])
        #expect(inventory.disk(ofDrive: "a") === disk && inventory.disk(ofDrive: "disk") == nil)
        #expect(inventory.nic(ofNetdev: "n") === nic && inventory.nic(ofNetdev: "nic") == nil)
        #expect(inventory.device("disk") === disk && inventory.device("a") == nil)
        #expect(inventory.user(ofIOThread: "io0") === owner)
        #expect(inventory.user(ofIOThread: "io1") === helper && inventory.user(ofIOThread: "io2") === helper)
        #expect(inventory.user(ofIOThread: "io3") == nil)
    }
}
