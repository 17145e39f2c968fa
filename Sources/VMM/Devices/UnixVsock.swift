import Backends
import EventLoop
import Options
import Virtio

/// A socket device that apus serves over Unix sockets. It lives on the main reactor.
final class UnixVsock: MachineDevice {
    private let spec: VsockDeviceSpec
    private let sockets: VsockSockets

    /// Listens for the host's programs.
    init(_ spec: VsockDeviceSpec, path: String) throws(MachineError) {
        do {
            sockets = try VsockSockets(path: path, id: spec.id ?? Self.defaultID)
        } catch {
            throw MachineError("-device vhost-vsock-device: socket", error.problem)
        }
        self.spec = spec
    }

    private static let defaultID = "vsock"

    var id: String { spec.id ?? Self.defaultID }

    var type: String { "vhost-vsock-device" }

    var maker: DeviceMaker {
        let (id, guestCID, sockets) = (id, spec.guestCID, SendOnce(sockets))
        return { _, _ throws(MachineError) in
            guard let sockets = sockets.take() else { throw MachineError("-device id=\(id)", "is attached already") }
            return UnixVsockDevice(id: id, guestCID: guestCID, sockets: sockets)
        }
    }

    func finish() { sockets.close() }
}
