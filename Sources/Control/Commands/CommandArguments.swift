package import JSONText

/// A command's arguments after they were checked against its row: every mandatory one is there, each has its type.
package struct CommandArguments: Sendable {
    /// As the client gave them.
    package let object: JSONObject

    init(_ object: JSONObject, for command: Command) throws(QMPError) {
        self.object = object
        let objection = QMPType.objection(
            to: object, members: command.arguments, open: command.toleratesUnknown)
        if let objection { throw QMPError("\(command.name): \(objection)") }
    }

    /// The string argument of that name, or nil if it wasn't given.
    package func string(_ name: String) -> String? {
        guard case .string(let value) = object[name] else { return nil }
        return value
    }

    /// The boolean argument of that name, or nil if it wasn't given.
    package func boolean(_ name: String) -> Bool? {
        guard case .bool(let value) = object[name] else { return nil }
        return value
    }

    /// The integer argument of that name, or nil if it wasn't given.
    package func integer(_ name: String) -> UInt64? {
        object[name]?.natural
    }

    /// The array argument of that name, or nil if it wasn't given.
    package func array(_ name: String) -> [JSONValue]? {
        guard case .array(let value) = object[name] else { return nil }
        return value
    }

    /// The strings of the array argument of that name, or nil if it wasn't given.
    package func strings(_ name: String) -> [String]? {
        array(name)?.compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    /// The object argument of that name, or nil if it wasn't given.
    package func object(_ name: String) -> JSONObject? {
        guard case .object(let value) = object[name] else { return nil }
        return value
    }
}
