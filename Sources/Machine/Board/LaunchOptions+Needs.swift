import Options
import Sandbox

extension LaunchOptions {
    /// What the machine's threads will have to do.
    func needs(hotPlug: Bool) -> MachineNeeds {
        var needs: MachineNeeds = hotPlug ? .hotPlug : []
        if !iothreads.isEmpty { needs.insert(.iothreads) }
        for device in devices {
            switch device {
            case .network(let card):
                switch netdev(card.netdev)?.backend {
                case .tap(let tap): needs.insert(tap.usesVhost ? [.taps, .vhost] : .taps)
                case .vhostUser, nil: needs.insert(.connections)
                }
            case .vsock(let vsock): needs.insert(vsock.socket == nil ? .vhost : .connections)
            case .fileSystem: needs.insert(.connections)
            case .block, .serialBus, .console, .serialPort, .entropy, .balloon: break
            }
        }
        return needs
    }
}
