import JSONText

/// One command as a client asked for it, checked against the table.
struct QMPRequest {
    let command: Command
    let arguments: CommandArguments

    /// Whether a client wants this command to overtake others.
    static func isOutOfBand(_ value: JSONValue) -> Bool { value["exec-oob"] != nil }

    /// Reads `{"execute": NAME, "arguments": {...}, "id": ANY}`, or the same with `exec-oob` in the place of `execute`.
    init(_ value: JSONValue, commands: CommandTable) throws(QMPError) {
        guard case .object(let object) = value else {
            throw QMPError("A command must be an object with the member 'execute', not \(value.kind)")
        }
        for member in object.members where !["execute", "exec-oob", "arguments", "id"].contains(member.name) {
            throw QMPError("Unknown member '\(member.name)'; a command has 'execute', 'arguments' and 'id'")
        }
        let key = object["exec-oob"] == nil ? "execute" : "exec-oob"
        guard let execute = object[key] else { throw QMPError("The member 'execute' is missing") }
        guard key == "execute" || object["execute"] == nil else {
            throw QMPError("The members 'execute' and 'exec-oob' exclude each other")
        }
        guard case .string(let name) = execute else {
            throw QMPError("The member '\(key)' must be a string, not \(execute.kind)")
        }
        guard let command = commands[name] else {
            throw QMPError("Unknown command '\(name)'; 'query-commands' lists those there are")
        }
        guard key == "execute" || command.allowsOutOfBand else {
            throw QMPError("The command '\(name)' cannot be executed out of band")
        }
        let given = object["arguments"] ?? .emptyObject
        guard case .object(let members) = given else {
            throw QMPError("The member 'arguments' must be an object, not \(given.kind)")
        }
        self.command = command
        arguments = try CommandArguments(members, for: command)
    }
}
