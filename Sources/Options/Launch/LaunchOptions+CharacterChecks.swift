/// The checks of everything that characters pass through: chardevs, the serial port, consoles and vhost-user sockets.
extension LaunchOptions {
    func checkCharacters() throws(OptionError) {
        var uses = References(to: "-chardev", chardevs.map(\.id))
        if let monitor {
            try uses.use(monitor.chardev, in: "-mon", key: "chardev")
            try checkNoReplay(monitor.chardev, in: "-mon")
        }
        switch serial {
        case .chardev(let id)?:
            try uses.use(id, in: "-serial", key: "chardev")
            try checkServer(id, in: "-serial")
        case .backend(.socket(let socket))?: try Self.checkServer(socket, in: "-serial")
        default: break
        }
        for device in devices {
            let option = "-device \(device.type)"
            switch device {
            case .console(let port), .serialPort(let port):
                try uses.use(port.chardev, in: option, key: "chardev")
                try checkServer(port.chardev, in: option)
                if case .serialPort = device { try checkNoReplay(port.chardev, in: option) }
            case .fileSystem(let device):
                try uses.use(device.chardev, in: option, key: "chardev")
                try checkFileSystem(device, in: option)
            default: break
            }
        }
        if !netdevs.isEmpty { try checkNetworkSockets(&uses) }
        try checkTerminal()
        try checkListeners()
    }

    /// A vhost-user back end is one that apus connects to.
    private func checkNetworkSockets(_ uses: inout References) throws(OptionError) {
        let option = "-netdev vhost-user"
        let backends = Dictionary(chardevs.map { ($0.id, $0.backend) }, uniquingKeysWith: { first, _ in first })
        for netdev in netdevs {
            guard case .vhostUser(let id) = netdev.backend else { continue }
            try uses.use(id, in: option, key: "chardev")
            guard case .socket(let socket)? = backends[id], case .unix = socket.endpoint, !socket.isServer,
                !socket.isNoWait
            else {
                throw OptionError(
                    option: option, offending: id,
                    problem: "chardev \(quoted(id)) is not a Unix socket without server and nowait")
            }
        }
    }

    /// Two sockets cannot listen at one address: the second would take the first one's place.
    private func checkListeners() throws(OptionError) {
        // Apus is the client of these, whatever they say.
        let clients = Set(devices.compactMap { if case .fileSystem(let spec) = $0 { spec.chardev } else { nil } })
        var listeners: [(option: String, endpoint: EndpointSpec)] = []
        if let qmp { listeners.append(("-qmp", qmp.endpoint)) }
        if case .backend(.socket(let socket))? = serial { listeners.append(("-serial", socket.endpoint)) }
        for chardev in chardevs {
            guard case .socket(let socket) = chardev.backend, socket.isServer, !clients.contains(chardev.id) else {
                continue
            }
            listeners.append(("-chardev \(quoted(chardev.id))", socket.endpoint))
        }
        guard listeners.count > 1 else { return }
        var owners: [String: String] = [:]
        for (option, endpoint) in listeners {
            let address = endpoint.description
            if let owner = owners.updateValue(option, forKey: address) {
                throw OptionError(
                    option: option, offending: address, problem: "\(quoted(address)) is where \(owner) listens")
            }
        }
    }

    private func checkTerminal() throws(OptionError) {
        var users = chardevs.filter { $0.backend == .stdio }.map { "-chardev \(quoted($0.id))" }
        if serial == .backend(.stdio) { users.append("-serial") }
        if users.count > 1 {
            throw OptionError(
                option: users[1], offending: "stdio", problem: "stdio is in use by \(users[0])",
                remedy: "one serial port or chardev can have it")
        }
        if isDaemon, let user = users.first {
            throw OptionError(
                option: user, offending: "stdio", problem: "stdio cannot be used with -daemonize",
                remedy: "use a pty, file or socket")
        }
    }

    /// A socket behind a console must be one that guests can start without.
    func checkServer(_ id: String, in option: String) throws(OptionError) {
        guard case .socket(let socket)? = chardev(id)?.backend else { return }
        try Self.checkServer(socket, in: option)
    }

    private static func checkServer(_ socket: SocketSpec, in option: String) throws(OptionError) {
        guard !(socket.isServer && socket.isNoWait) else { return }
        throw OptionError(
            option: option, offending: socket.endpoint.description,
            problem: "socket \(quoted(socket.endpoint.description)) lacks \(socket.isServer ? "nowait" : "server")",
            remedy: "add server,nowait")
    }

    /// What a console has said may be shown again; on a channel for data it would be taken for data.
    private func checkNoReplay(_ id: String, in option: String) throws(OptionError) {
        guard case .socket(let socket)? = chardev(id)?.backend, socket.replays == true else { return }
        throw OptionError(
            option: option, offending: id, problem: "chardev \(quoted(id)) has replay=on, which is for consoles",
            remedy: "leave it out")
    }

    /// `server,nowait` on virtiofsd's chardev is tolerated: Kata writes it.
    private func checkFileSystem(_ device: FileSystemDeviceSpec, in option: String) throws(OptionError) {
        guard case .socket(let socket)? = chardev(device.chardev)?.backend, case .unix = socket.endpoint else {
            throw OptionError(
                option: option, offending: device.chardev,
                problem: "chardev \(quoted(device.chardev)) is not a Unix socket",
                remedy: "give the id of a -chardev socket,path=PATH")
        }
        guard memoryBackend.isShared else {
            throw OptionError(
                option: option, problem: "virtiofsd needs to share the guest's memory",
                remedy: "write -machine microvm,mem-share=on")
        }
    }
}
