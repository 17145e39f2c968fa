/// Where characters come from and go to.
package enum CharacterBackend: Equatable, Sendable {
    /// The terminal, or whatever standard input and output are. There is at most one.
    case stdio
    /// A new pseudo-terminal.
    case pty
    case socket(SocketSpec)
    /// Output only, written over the file from its beginning.
    case file(path: String)
    /// Output only, line by line into the log.
    case log
}

/// A socket chardev.
package struct SocketSpec: Equatable, Sendable {
    package let endpoint: EndpointSpec
    /// Whether apus listens; otherwise it connects.
    package let isServer: Bool
    /// Whether the machine starts before anyone has connected.
    package let isNoWait: Bool
    /// Whether a client is first shown the last that the guest wrote; nil if it was not said.
    package let replays: Bool?

    init(endpoint: EndpointSpec, isServer: Bool, isNoWait: Bool, replays: Bool? = nil) {
        self.endpoint = endpoint
        self.isServer = isServer
        self.isNoWait = isNoWait
        self.replays = replays
    }
}

/// `-chardev`: a character backend with an id.
package struct ChardevSpec: Equatable, Sendable {
    /// What serial ports, consoles, vhost-user devices and `-mon` refer to; unique.
    package let id: String
    package let backend: CharacterBackend
}

extension ChardevSpec {
    private enum Keys {
        static let id = OptionKey(
            "id", .identifier, .required, "what -serial chardev:ID and -device chardev= refer to")
    }

    /// Every key of every type, for help.
    static let keys = [Keys.id.description] + CharacterBackend.keys

    /// Reads one value of `-chardev`.
    package static func parse(_ text: String) throws(OptionError) -> ChardevSpec {
        try decode(KeyValueList(option: "-chardev", firstKey: "type", parsing: text))
    }

    /// Decodes `-chardev`'s keys; the backend's name is under `type`.
    package static func decode(_ list: KeyValueList) throws(OptionError) -> ChardevSpec {
        let (backend, reader) = try CharacterBackend.decode(list, others: [Keys.id.description])
        return ChardevSpec(id: try reader.value(Keys.id), backend: backend)
    }
}

extension CharacterBackend {
    private enum Kind: String, CaseIterable {
        case stdio
        case pty
        case socket
        case file
        case redirectToLog = "redirect-to-log"
    }

    private enum Keys {
        static let type = OptionKey("type", ValueType<Kind>.choice, .required, "the backend, as the first word")
        static let filePath = OptionKey("path", .path, .required, "file: what is written to; created if missing")
        static let socketPath = OptionKey("path", .socketPath, "socket: the path of a Unix socket")
        static let host = OptionKey("host", .ipv4, "socket: the address for TCP, 0.0.0.0 if not given")
        static let port = OptionKey(
            "port", ValueType<UInt16>.number("a port", 1...65535), "socket: the port for TCP")
        static let server = OptionKey.flag("server", "socket: listen instead of connecting")
        static let nowait = OptionKey.flag("nowait", "socket: start before anyone has connected")
        static let replay = OptionKey(
            "replay", .onOff, "socket: show a new client the last 64 KiB; on for consoles if not given")
    }

    static let keys = [
        Keys.socketPath.description, Keys.host.description, Keys.port.description, Keys.server.description,
        Keys.nowait.description, Keys.replay.description,
        Keys.filePath.description,
    ]

    /// Decodes a backend from its `type` and keys. The reader that comes back also knows `others`, the caller's own keys.
    static func decode(
        _ list: KeyValueList, others: [KeyDescription]
    ) throws(OptionError) -> (CharacterBackend, KeyReader) {
        // The keys depend on the type, so the type is read alone first.
        let typeOnly = KeyValueList(
            option: list.option, firstKey: list.firstKey, pairs: list.pairs.filter { $0.key == "type" })
        let kind = try KeyReader(typeOnly, keys: [Keys.type.description]).value(Keys.type)
        let titled = list.titled("\(list.option) \(kind.rawValue)")
        let common = [Keys.type.description] + others
        switch kind {
        case .stdio: return (.stdio, try KeyReader(titled, keys: common))
        case .pty: return (.pty, try KeyReader(titled, keys: common))
        case .redirectToLog: return (.log, try KeyReader(titled, keys: common))
        case .file:
            let reader = try KeyReader(titled, keys: common + [Keys.filePath.description])
            return (.file(path: try reader.value(Keys.filePath)), reader)
        case .socket:
            let reader = try KeyReader(titled, keys: common + keys.filter { $0 != Keys.filePath.description })
            return (.socket(try socket(reader)), reader)
        }
    }

    private static func socket(_ reader: KeyReader) throws(OptionError) -> SocketSpec {
        let path = try reader.optional(Keys.socketPath)
        let host = try reader.optional(Keys.host)
        let port = try reader.optional(Keys.port)
        let endpoint: EndpointSpec
        switch (path, host, port) {
        case (let path?, nil, nil): endpoint = .unix(path: path)
        case (nil, let host, let port?): endpoint = .tcp(host: host ?? .any, port: port)
        case (nil, _?, nil):
            throw reader.missing(Keys.port)
        case (nil, nil, nil):
            throw OptionError(
                option: reader.option, problem: "\"path\" is missing",
                remedy: "write path=PATH for a Unix socket, or host=IPV4,port=N for TCP")
        default:
            throw OptionError(
                option: reader.option, problem: "\"path\" and \"\(host == nil ? "port" : "host")\" exclude each other",
                remedy: "give path=PATH for a Unix socket, or host=IPV4,port=N for TCP")
        }
        let isServer = try reader.flag(Keys.server)
        let replays = try reader.optional(Keys.replay)
        guard isServer || replays == nil else {
            throw reader.error(Keys.replay, "is for a socket that clients connect to", remedy: "add server,nowait")
        }
        return SocketSpec(
            endpoint: endpoint, isServer: isServer, isNoWait: try reader.flag(Keys.nowait), replays: replays)
    }
}

extension IPv4Address {
    /// 0.0.0.0: every address of the host.
    static let any = IPv4Address(rawValue: 0)

    private init(rawValue: UInt32) { self.rawValue = rawValue }
}
