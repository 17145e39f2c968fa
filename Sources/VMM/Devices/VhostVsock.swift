import Backends
import EventLoop
import Host
import Options
import Virtio

/// A socket device that the kernel's vhost-vsock serves.
final class VhostVsock: MachineDevice {
    private let spec: VsockDeviceSpec
    private let vhost: SendOnce<KernelVhost>
    private static let path = "/dev/vhost-vsock"
    private static let otherWay = "or let apus serve the device, with socket=PATH"

    /// Opens the kernel's device and takes the guest's address.
    init(_ spec: VsockDeviceSpec) throws(MachineError) {
        let file = VhostFile(try Self.open(spec.vhostDescriptor))
        do {
            try file.setOwner()
            try file.setGuestCID(UInt64(spec.guestCID))
            vhost = SendOnce(try KernelVhost(file, .socket))
        } catch {
            throw Self.error(Self.explanation(error, spec))
        }
        self.spec = spec
    }

    var id: String { spec.id ?? "vsock" }

    var type: String { "vhost-vsock-device" }

    var maker: DeviceMaker {
        let (id, cid, vhost) = (id, spec.guestCID, vhost)
        return { _, _ throws(MachineError) in
            guard let vhost = vhost.take() else { throw MachineError("-device id=\(id)", "is attached already") }
            return VhostVsockDevice(id: id, cid: cid, vhost)
        }
    }

    private static func open(_ inherited: Int32?) throws(MachineError) -> FileDescriptor {
        do {
            if let inherited { return try FileDescriptor.inherited(inherited) }
            return try FileDescriptor.open(path, .readWrite)
        } catch {
            if let inherited { throw Self.error("vhostfd=\(inherited) is no open descriptor of \(path)") }
            let remedy =
                switch error {
                case .noEntry, .noDevice: "load the kernel's module (modprobe vhost_vsock)"
                default: "run apus as a user who may open it, or hand it over open with vhostfd=FD"
                }
            throw Self.error("cannot open \(path): \(error); \(remedy), \(otherWay)")
        }
    }

    private static func explanation(_ error: VhostError, _ spec: VsockDeviceSpec) -> String {
        switch error.reason {
        case .addressInUse:
            "guest-cid=\(spec.guestCID) is the address of another machine on this host; take another one, \(otherWay): "
                + "then several machines may have the same"
        case .busy:
            "vhostfd=\(spec.vhostDescriptor ?? -1) belongs to another process; each machine needs one of its own"
        case .notTerminal where spec.vhostDescriptor != nil:
            "vhostfd=\(spec.vhostDescriptor ?? -1) is no open descriptor of \(path)"
        default: "\(error)"
        }
    }

    private static func error(_ problem: String) -> MachineError { MachineError("-device vhost-vsock-device", problem) }
}
