import Backends
import EventLoop
import Host
import Options
import Virtio

/// A file system device, with a connection to the virtiofsd that serves it.
final class FileSystem: MachineDevice {
    private let spec: FileSystemDeviceSpec
    private let endpoint: SendOnce<VhostUserEndpoint>

    /// Connects to the back end.
    init(_ spec: FileSystemDeviceSpec, _ options: LaunchOptions) throws(MachineError) {
        guard case .socket(let socket)? = options.chardev(spec.chardev)?.backend, case .unix(let path) = socket.endpoint
        else {
            throw MachineError("-device vhost-user-fs-device", "chardev=\(spec.chardev) is not a Unix socket")
        }
        do {
            endpoint = SendOnce(try VhostUserEndpoint.connect(path))
        } catch {
            throw MachineError("-chardev id=\(spec.chardev)", Self.explanation(error, path))
        }
        self.spec = spec
    }

    var id: String { spec.id ?? spec.tag }

    var type: String { "vhost-user-fs-device" }

    var maker: DeviceMaker {
        let (id, tag, endpoint) = (id, spec.tag, endpoint)
        return { reactor, _ throws(MachineError) in
            guard let endpoint = endpoint.take() else {
                throw MachineError("-device id=\(id)", "is attached already")
            }
            return FileSystemDevice(id: id, tag: tag, VhostUserClient(endpoint, name: id, reactor: reactor))
        }
    }

    private static func explanation(_ error: VhostUserError, _ path: String) -> String {
        switch error {
        case .connection(.noEntry), .connection(.connectionRefused):
            "nobody listens at '\(path)'; start virtiofsd there before apus"
        case .connection(.again): "'\(path)' takes no more connections; each machine needs a virtiofsd of its own"
        case .silent, .closed:
            "'\(path)': \(error); each machine needs a virtiofsd of its own, which serves nobody else"
        default: "'\(path)' is no virtiofsd: \(error)"
        }
    }
}
