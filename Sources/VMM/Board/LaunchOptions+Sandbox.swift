import Host
import Options
import Sandbox

extension LaunchOptions {
    /// What the machine's threads will have to do.
    func needs(hotPlug: Bool) -> SyscallProfile {
        var needs: SyscallProfile = hotPlug ? .hotPlug : []
        if !iothreads.isEmpty { needs.insert(.iothreads) }
        if spareIOThreads > 0 { needs.formUnion([.iothreads, .spareIOThreads]) }
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

    /// What the machine's process goes into before it does anything else.
    var jail: Jail {
        var jail = Jail()
        jail.root = sandbox.root
        jail.devices = ["/dev/kvm"] + deviceFiles(hotPlug: machine.hotPlug != false) + sources
        jail.network = sandbox.network
        jail.cgroup = sandbox.cgroup
        jail.newPIDNamespace = sandbox.newPIDNamespace
        jail.user = if let user = sandbox.user, let group = sandbox.group { (user, group) } else { nil }
        return jail
    }

    /// What the machine keeps of what it could reach, when it has opened what it begins with.
    func reach(hotPlug: Bool) -> LandlockPolicy {
        var reach = LandlockPolicy()
        let isAsked = sandbox.limitsPaths ?? !sandbox.paths.isEmpty
        guard sandbox.isOn else {
            reach.paths = .none
            reach.capabilities = Capabilities(rawValue: .max)
            return reach
        }
        reach.paths = isAsked ? .always : hotPlug || sandbox.limitsPaths == false ? .none : .ifPossible
        reach.ownFiles = ownFiles
        reach.usable = sandbox.paths
        reach.usableIfThere = hotPlug ? deviceFiles(hotPlug: true) : []
        // Images and taps of any user may come; a guest calls programs of any user.
        if hotPlug { reach.capabilities.formUnion([.allFiles, .network]) }
        if needs(hotPlug: false).contains(.connections) { reach.capabilities.insert(.allFiles) }
        return reach
    }

    /// Whether images of disks that are plugged in can be opened by some paths only.
    var imagesAreConfined: Bool { reach(hotPlug: true).paths == .always }

    /// Where entropy comes from, as far as that is usual.
    private var sources: [String] {
        let files = objects.compactMap { if case .random(let spec) = $0 { spec.filename } else { nil } }
        return files.filter { ["/dev/urandom", "/dev/random", "/dev/hwrng"].contains($0) }
    }

    /// The host's devices that those of the machine are made of.
    private func deviceFiles(hotPlug: Bool) -> [String] {
        let needs = needs(hotPlug: hotPlug)
        var files: [String] = []
        if hotPlug || needs.contains(.taps) { files += ["/dev/net/tun", "/dev/vhost-net"] }
        if needs.contains(.vhost) { files.append("/dev/vhost-vsock") }
        return files
    }

    /// The files that the machine makes and takes away.
    private var ownFiles: [String] {
        var endpoints = monitors.map(\.endpoint)
        for case .socket(let socket) in chardevs.map(\.backend) where socket.isServer {
            endpoints.append(socket.endpoint)
        }
        if case .backend(.socket(let socket))? = serial, socket.isServer { endpoints.append(socket.endpoint) }
        var files = endpoints.compactMap { if case .unix(let path) = $0 { path } else { nil } }
        for case .vsock(let vsock) in devices { files += [vsock.socket].compactMap(\.self) }
        return files + [pidfile].compactMap(\.self)
    }
}
