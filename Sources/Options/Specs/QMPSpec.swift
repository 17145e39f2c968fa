/// `-qmp`, or `-mon` with its chardev: a socket that QMP clients connect to.
package struct QMPSpec: Equatable, Sendable {
    package let endpoint: EndpointSpec
}

/// `-mon`: which chardev is a QMP socket.
package struct MonitorSpec: Equatable, Sendable {
    package let id: String?
    /// The id of a socket chardev with `server,nowait`.
    package let chardev: String
}

extension QMPSpec {
    private enum Keys {
        static let address = OptionKey("address", .endpoint, .required, "where to listen, as the first word")
        static let server = OptionKey.flag("server", required: true, "listen; there is no other way")
        static let nowait = OptionKey.flag(
            "nowait", required: true, "start before a client has connected; there is no other way")
        static let iothread = OptionKey(
            "iothread", .identifier, "not supported yet: the main loop serves clients")
    }

    static let keys = [
        Keys.address.description, Keys.server.description, Keys.nowait.description, Keys.iothread.description,
    ]

    /// Reads the value of `-qmp`: `unix:PATH,server,nowait` or `tcp:IPV4:PORT,server,nowait`.
    package static func parse(_ text: String) throws(OptionError) -> QMPSpec {
        let list = try KeyValueList(option: "-qmp", firstKey: "address", parsing: text)
        let reader = try KeyReader(list, keys: keys)
        let endpoint = try reader.value(Keys.address)
        _ = try reader.flag(Keys.server)
        _ = try reader.flag(Keys.nowait)
        if let iothread = try reader.optional(Keys.iothread) { throw .notSupportedYet("-qmp", "iothread=\(iothread)") }
        return QMPSpec(endpoint: endpoint)
    }
}

extension MonitorSpec {
    private enum Keys {
        static let id = OptionKey("id", .identifier, "a name for this monitor")
        static let chardev = OptionKey(
            "chardev", .identifier, .required, "a socket -chardev with server,nowait")
        static let mode = OptionKey("mode", .monitorMode, .required, "control: QMP")
    }

    static let keys = [Keys.id.description, Keys.chardev.description, Keys.mode.description]

    /// Reads the value of `-mon`.
    package static func parse(_ text: String) throws(OptionError) -> MonitorSpec {
        let list = try KeyValueList(option: "-mon", parsing: text)
        let reader = try KeyReader(list, keys: keys)
        let chardev = try reader.value(Keys.chardev)
        _ = try reader.value(Keys.mode)
        return MonitorSpec(id: try reader.optional(Keys.id), chardev: chardev)
    }
}

extension ValueType where Value == EndpointSpec {
    /// `unix:PATH` or `tcp:IPV4:PORT`.
    fileprivate static let endpoint = ValueType(
        placeholder: "unix:PATH|tcp:IPV4:PORT",
        expectation: "an address to listen on: unix:PATH (at most 107 bytes) or tcp:IPV4:PORT"
    ) { text in
        let parts = text.split(atEach: .colon)
        switch parts.first {
        case "unix":
            let path = String(Substring(text.utf8.dropFirst("unix:".utf8.count)))
            return ValueType<String>.socketPath.parse(path).map { .unix(path: $0) }
        case "tcp":
            guard parts.count == 3, let host = IPv4Address(parts[1]),
                let port = decimal(parts[2]).flatMap(UInt16.init(exactly:)), port > 0
            else { return nil }
            return .tcp(host: host, port: port)
        default: return nil
        }
    }
}

extension ValueType where Value == String {
    fileprivate static let monitorMode = ValueType(
        placeholder: "control", expectation: "a mode; control is the one that is supported"
    ) {
        $0 == "control" ? $0 : nil
    }
}
