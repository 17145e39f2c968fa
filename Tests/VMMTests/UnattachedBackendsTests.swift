import Control
import Host
import Options
import TestSupport
import Testing

@testable import VMM

@Suite struct UnattachedBackendsTests {
    private let descriptors = DescriptorStore()
    private let backends: UnattachedBackends
    private let image: TemporaryFile

    init() throws {
        backends = UnattachedBackends(descriptors, imagesAreConfined: false)
        image = try TemporaryFile(size: 4096)
    }

    private var inventory: Inventory {
        Inventory(limits: .microvm, unusedDrives: backends.unusedDrives, unusedNetdevs: backends.unusedNetdevs)
    }

    private func message(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return (error as? QMPError)?.description ?? "\(error)"
        }
    }

    private func add(_ id: String, _ path: String, _ keys: String = "") throws {
        try backends.addDrive(try HostEnds.driveSpec(id, path, keys), beside: inventory)
    }

    // MARK: Images

    @Test func anImageIsOpenUntilItIsTakenOrRemoved() throws {
        try add("a", image.path)
        #expect(backends.unusedDrives.map(\.spec.id) == ["a"])
        let drive = try #require(backends.takeDrive("a"))
        #expect(backends.takeDrive("a") == nil && backends.unusedDrives.isEmpty)
        backends.add(drive)
        try backends.removeDrive("a", beside: inventory)
        #expect(message { try backends.removeDrive("a", beside: inventory) } == "blockdev-del: there is no node 'a'")
    }

    @Test func anImageInUseIsNamed() throws {
        let disk = try HostEnds.disk(try HostEnds.drive("a", image), id: "disk")
        let inventory = Inventory(limits: .microvm, devices: [disk])
        #expect(
            message { try backends.removeDrive("a", beside: inventory) }
                == "blockdev-del: a is in use by the device disk; device_del takes both away")
    }

    @Test func anImageIsNotWrittenTwice() throws {
        try add("a", image.path, ",readonly=on")
        try add("b", image.path, ",readonly=on")
        #expect(
            message { try add("c", image.path) }
                == "blockdev-add node-name=c: '\(image.path)' is also the image of "
                + "\(backends.unusedDrives[0].spec.id); use it once, or read-only in both")
        #expect(
            message { try add("a", image.path) }
                == "blockdev-add: a is registered already; choose another node-name")
        #expect(backends.unusedDrives.count == 2)
    }

    @Test func whatCannotBeOpenedIsNamed() throws {
        let text = message { try add("a", "/nonexistent/image") }
        #expect(text?.hasPrefix("blockdev-add node-name=a: ") == true)
        #expect(backends.unusedDrives.isEmpty)
    }

    @Test func anImageCanComeFromASetOfDescriptors() throws {
        _ = try descriptors.add(try FileDescriptor.open(image.path, .readOnly), toSet: 2, opaque: nil)
        try add("a", "/dev/fdset/2", ",readonly=on")
        #expect(
            message { try add("b", "/dev/fdset/2") }?.hasPrefix("/dev/fdset/2: no descriptor of this set is open for")
                == true)
        #expect(
            message { try add("b", "/dev/fdset/3") }
                == "/dev/fdset/3: there is no such set of descriptors; add-fd makes one")
        #expect(
            message { try add("b", image.path) }?.contains("is also the image of a;") == true)
        _ = try descriptors.add(try FileDescriptor.open(image.path, .readWrite), toSet: 2, opaque: nil)
        #expect(
            message { try add("b", "/dev/fdset/2") }?.contains("is also the image of a;") == true)
        let drive = try #require(backends.takeDrive("a"))
        #expect(drive.isHandedOver)
        drive.close()
        try add("b", "/dev/fdset/2")
    }

    // MARK: Taps

    @Test func aTapIsOpenUntilItIsTakenOrRemoved() throws {
        backends.add(try HostEnds.netdev("n"))
        #expect(backends.unusedNetdevs.map(\.spec.id) == ["n"])
        try backends.removeNetdev("n", beside: inventory)
        #expect(
            message { try backends.removeNetdev("n", beside: inventory) } == "netdev_del: there is no netdev 'n'")
    }

    @Test func aTapInUseIsNamed() throws {
        let nic = try NIC(
            try HostEnds.netdev("n"), try HostEnds.nicSpec("n", ",id=nic"), beside: Inventory(limits: .microvm))
        #expect(
            message { try backends.removeNetdev("n", beside: Inventory(limits: .microvm, devices: [nic])) }
                == "netdev_del: n is in use by the device nic; device_del takes both away")
    }

    @Test func aTapThatIsNoneTakesItsDescriptorsAlong() throws {
        let file = try HandedOver()
        try descriptors.keep(try file.take(), as: "tap")
        let spec = try NetdevSpec.parse("tap,id=n,fd=\(file.number)")
        #expect(message { try backends.addNetdev(spec, beside: inventory) }?.hasPrefix("netdev_add id=n: ") == true)
        #expect(descriptors.numbers.isEmpty && !file.isOpen)
        #expect(
            message { try backends.addNetdev(spec, beside: inventory) }
                == "netdev_add: no descriptor \(file.number) came with getfd; name one that did")
        #expect(backends.unusedNetdevs.isEmpty)
    }

    @Test func onlyTapsCanBeAdded() throws {
        let spec = try NetdevSpec.parse("vhost-user,id=n,chardev=c")
        #expect(
            message { try backends.addNetdev(spec, beside: inventory) }
                == "netdev_add: only a tap can be added while the machine runs")
    }

    // MARK: Removed ones

    @Test func aBackendThatWentWithItsDeviceCanBeRemovedOnce() throws {
        backends.rememberRemoved("a")
        try backends.removeDrive("a", beside: inventory)
        #expect(message { try backends.removeDrive("a", beside: inventory) } != nil)
        backends.rememberRemoved("a")
        try add("a", image.path)
        try backends.removeDrive("a", beside: inventory)
        #expect(message { try backends.removeDrive("a", beside: inventory) } != nil, "a new one takes its place")
    }

    @Test func whatIsRememberedIsBounded() throws {
        for index in 0..<1000 { backends.rememberRemoved("\(index)") }
        #expect(message { try backends.removeNetdev("0", beside: inventory) } != nil)
        try backends.removeNetdev("999", beside: inventory)
    }
}
