import Backends
import Host
import Options

extension Netdev {
    private static let vhostPath = "/dev/vhost-net"

    /// Takes over the descriptors of vhost-net that the user names.
    static func inheritVhost(_ netdev: NetdevSpec, _ option: String) throws(MachineError) -> [Box<VhostFile>] {
        guard case .tap(let spec) = netdev.backend, spec.usesVhost else { return [] }
        var files: [Box<VhostFile>] = []
        for number in spec.vhostDescriptors {
            do {
                files.append(Box(VhostFile(try FileDescriptor.inherited(number))))
            } catch {
                throw MachineError(option, "vhostfd=\(number) is no open descriptor of \(vhostPath)")
            }
        }
        return files
    }

    /// Has vhost-net serve each queue of a tap that is to have it, by the files given or else by ones opened here.
    static func openVhost(
        _ netdev: NetdevSpec, _ tap: Tap, _ inherited: [Box<VhostFile>], _ option: String
    ) throws(MachineError) -> [KernelVhost] {
        guard case .tap(let spec) = netdev.backend, spec.usesVhost else { return [] }
        guard inherited.isEmpty || inherited.count == tap.queues.count else {
            throw MachineError(
                option,
                "vhost needs as many descriptors as the tap has queues, \(tap.queues.count), and there are "
                    + "\(inherited.count)")
        }
        var vhosts: [KernelVhost] = []
        for (index, queue) in tap.queues.enumerated() {
            let given = inherited.isEmpty ? nil : inherited[index].take()
            let file = if let given { given } else { try openVhostFile(option) }
            do throws(VhostError) {
                try file.setOwner()
                vhosts.append(try KernelVhost(file, .network(tap: queue.descriptor)))
            } catch {
                throw MachineError(option, explanation(error, inherited.isEmpty ? nil : spec.vhostDescriptors[index]))
            }
        }
        return vhosts
    }

    private static func openVhostFile(_ option: String) throws(MachineError) -> VhostFile {
        do {
            return VhostFile(try FileDescriptor.open(vhostPath, .readWrite))
        } catch {
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
