import Backends
import EventLoop
import Host
import Options
import TestSupport
import Virtio

@testable import VMM

/// Images, taps and devices for tests: real ones, of files and sockets that are gone with the test.
enum HostEnds {
    /// A drive on a file.
    static func drive(_ id: String, _ file: TemporaryFile, _ keys: String = "") throws -> Drive {
        try Drive(driveSpec(id, file.path, keys), "-drive id=\(id)")
    }

    static func driveSpec(_ id: String, _ path: String, _ keys: String = "") throws -> DriveSpec {
        try DriveSpec.parse("id=\(id),file=\(path),direct=off\(keys)")
    }

    /// A disk, which is called as its drive is unless it has an id of its own.
    static func disk(_ drive: Drive, id: String? = nil) throws -> Disk {
        Disk(drive, try blockSpec(drive.spec.id, id: id))
    }

    static func blockSpec(_ drive: String, id: String? = nil, iothread: String? = nil) throws -> BlockDeviceSpec {
        let keys = [("id", id), ("iothread", iothread)].compactMap { key, value in value.map { ",\(key)=\($0)" } }
        guard case .block(let spec) = try DeviceSpec.parse("virtio-blk-device,drive=\(drive)\(keys.joined())") else {
            throw NotALaunch()
        }
        return spec
    }

    /// A tap that is one end of a socket.
    static func netdev(_ id: String, pairs: Int = 1) throws -> Netdev {
        var ends: [Int32] = []
        for _ in 0..<pairs { ends.append(try HandedOver().take().release()) }
        return Netdev(try NetdevSpec.parse("tap,id=\(id),ifname=unused"), try Tap(standIn: ends))
    }

    static func nicSpec(_ netdev: String, _ keys: String = "") throws -> NetworkDeviceSpec {
        guard case .network(let spec) = try DeviceSpec.parse("virtio-net-device,netdev=\(netdev)\(keys)") else {
            throw NotALaunch()
        }
        return spec
    }
}

/// A device of no type in particular, which notes what becomes of it.
final class FakeDevice: MachineDevice {
    let id: String
    let type = "fake"
    let iothread: String?
    let helper: String?
    var isFinished = false

    init(_ id: String, iothread: String? = nil, helper: String? = nil) {
        self.id = id
        self.iothread = iothread
        self.helper = helper ?? iothread
    }

    var maker: DeviceMaker {
        { [id] _, minimumQueues throws(MachineError) in NullBlockDevice(id: id, minimumQueues: minimumQueues) }
    }

    func finish() { isFinished = true }
}
