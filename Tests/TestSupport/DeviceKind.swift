import Backends
package import EventLoop
import Glibc
import Host
package import Virtio

/// The kinds of devices that tests make with a fake host end.
package enum DeviceKind: CaseIterable, Sendable {
    case balloon, block, console, entropy, network

    /// Makes a device of this kind.
    package func make(id: String, on reactor: Reactor) throws -> TestDevice {
        switch self {
        case .balloon:
            return TestDevice(BalloonDevice(id: id, deflatesOnOutOfMemory: true, reportsFreePages: true))
        case .block:
            let file = try TemporaryFile(size: 1 << 20, inMemory: true)
            let image = try DiskImage.open(path: file.path, readOnly: false, direct: false)
            return TestDevice(BlockDevice(id: id, image: image), file)
        case .console:
            let chardev = try Chardev.server(id: id, unix: temporaryPath(id), replaying: true, on: reactor)
            let port = ConsoleDevice.Port(number: 0, name: "console", isConsole: true, chardev: chardev)
            return TestDevice(ConsoleDevice(id: id, ports: [port]), HostEnd { chardev.close() })
        case .entropy:
            return TestDevice(EntropyDevice(id: id, source: try RandomSource(path: "/dev/urandom")))
        case .network:
            var ends: [Int32] = [-1, -1]
            guard unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0 else { throw Errno.current }
            let (far, tap) = (ends[0], try Tap(standIn: [ends[1]], offloads: [.checksum, .tso4, .tso6, .ecn]))
            let device = NetDevice(id: id, tap: tap, options: NetDevice.Options(mac: [2, 0, 0, 0, 0, 1]))
            return TestDevice(device, HostEnd { _ = close(far) })
        }
    }
}

/// A device, and its host end for as long as the device needs it.
package struct TestDevice {
    package let device: VirtioDevice
    private let host: AnyObject?

    init(_ device: VirtioDevice, _ host: AnyObject? = nil) {
        self.device = device
        self.host = host
    }
}

/// Ends a host end when no test needs it any more.
private final class HostEnd {
    private let end: () -> Void

    init(_ end: @escaping () -> Void) {
        self.end = end
    }

    deinit {
        end()
    }
}
