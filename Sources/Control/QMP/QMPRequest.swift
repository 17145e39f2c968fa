/// One command as a client asked for it, checked against the table.
struct QMPRequest {
    let command: Command
    let arguments: CommandArguments

    /// Reads `{"execute": NAME, "arguments": {...}, "id": ANY}`.
    init(_ value: JSONValue, commands: CommandTable) throws(QMPError) {
        guard case .object(let object) = value else {
            throw QMPError("A command must be an object with the member 'execute', not \(value.kind)")
        }
        for member in object.members where !["execute", "arguments", "id"].contains(member.name) {
            throw QMPError("Unknown member '\(member.name)'; a command has 'execute', 'arguments' and 'id'")
        }
        guard let execute = object["execute"] else { throw QMPError("The member 'execute' is missing") }
        guard case .string(let name) = execute else {
            throw QMPError("The member 'execute' must be a string, not \(execute.kind)")
        }
        guard let command = commands[name] else {
            throw QMPError("Unknown command '\(name)'; 'query-commands' lists those there are")
        }
        let given = object["arguments"] ?? .emptyObject
        guard case .object(let members) = given else {
            throw QMPError("The member 'arguments' must be an object, not \(given.kind)")
        }
        self.command = command
        arguments = try CommandArguments(members, for: command)
    }
}
