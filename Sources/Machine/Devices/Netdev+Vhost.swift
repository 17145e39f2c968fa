import Backends
import Host
import Options

extension Netdev {
    private static let vhostPath = "/dev/vhost-net"

    /// Opens vhost-net for each queue of a tap that is to have it.
    static func openVhost(_ netdev: NetdevSpec, _ tap: Tap, _ option: String) throws(MachineError) -> [KernelVhost] {
        guard case .tap(let spec) = netdev.backend, spec.usesVhost else { return [] }
        let inherited = spec.vhostDescriptors
        guard inherited.isEmpty || inherited.count == tap.queues.count else {
            throw MachineError(
                option,
                "vhost needs as many descriptors as the tap has queues, \(tap.queues.count), and there are "
                    + "\(inherited.count)")
        }
        var vhosts: [KernelVhost] = []
        for (index, queue) in tap.queues.enumerated() {
            let number = inherited.isEmpty ? nil : inherited[index]
            do {
                let file = VhostFile(try open(number, option))
                try file.setOwner()
                vhosts.append(try KernelVhost(file, .network(tap: queue.descriptor)))
            } catch let error as VhostError {
                throw MachineError(option, explanation(error, number))
            } catch let error as MachineError {
                throw error
            } catch {
                throw MachineError(option, "\(error)")
            }
        }
        return vhosts
    }

    private static func open(_ inherited: Int32?, _ option: String) throws(MachineError) -> FileDescriptor {
        do {
            if let inherited { return try FileDescriptor.inherited(inherited) }
            return try FileDescriptor.open(vhostPath, .readWrite)
        } catch {
            if let inherited {
                throw MachineError(option, "vhostfd=\(inherited) is no open descriptor of \(vhostPath)")
            }
            let remedy =
                switch error {
                case .noEntry, .noDevice: "load the kernel's module (modprobe vhost_net)"
                default: "run apus as a user who may open it, hand it over open with vhostfd=FD"
                }
            throw MachineError(option, "vhost=on: cannot open \(vhostPath): \(error); \(remedy), or use vhost=off")
        }
    }

    private static func explanation(_ error: VhostError, _ inherited: Int32?) -> String {
        guard let inherited else { return "vhost=on: \(error)" }
        return switch error.reason {
        case .busy: "vhostfd=\(inherited) belongs to another device or process; each queue needs one of its own"
        case .notTerminal: "vhostfd=\(inherited) is no open descriptor of \(vhostPath)"
        default: "vhostfd=\(inherited): \(error)"
        }
    }
}
