/// A command's arguments after they were checked against its row: every mandatory one is there, each has its type.
package struct CommandArguments: Sendable {
    /// As the client gave them.
    package let object: JSONObject

    init(_ object: JSONObject, for command: Command) throws(QMPError) {
        self.object = object
        for argument in command.arguments {
            guard let value = object[argument.name] else {
                guard argument.isOptional else {
                    throw QMPError("\(command.name): argument '\(argument.name)' is missing")
                }
                continue
            }
            if let problem = argument.type.problem(with: value) {
                throw QMPError("\(command.name): argument '\(argument.name)' \(problem)")
            }
        }
        guard !command.toleratesUnknown else { return }
        for member in object.members where !command.arguments.contains(where: { $0.name == member.name }) {
            throw QMPError("\(command.name): unknown argument '\(member.name)'")
        }
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
        object[name]?.unsignedInteger
    }

    /// The array argument of that name, or nil if it wasn't given.
    package func array(_ name: String) -> [JSONValue]? {
        guard case .array(let value) = object[name] else { return nil }
        return value
    }

    /// The object argument of that name, or nil if it wasn't given.
    package func object(_ name: String) -> JSONObject? {
        guard case .object(let value) = object[name] else { return nil }
        return value
    }
}

extension JSONValue {
    fileprivate var unsignedInteger: UInt64? {
        switch self {
        case .integer(let value): UInt64(exactly: value)
        case .unsigned(let value): value
        default: nil
        }
    }
}

extension Command.ArgumentType {
    /// Why the value is not of this type, as the end of a sentence; nil when it is.
    fileprivate func problem(with value: JSONValue) -> String? {
        switch (self, value) {
        case (.string, .string(let text)):
            // It would end early on its way through a C interface.
            text.utf8.contains(0) ? "contains a NUL character" : nil
        case (.boolean, .bool), (.array, .array), (.object, .object): nil
        case (.integer(let range), .integer), (.integer(let range), .unsigned):
            value.unsignedInteger.map(range.contains) == true ? nil : "must be \(description)"
        default: "must be \(description), not \(value.kind)"
        }
    }
}
