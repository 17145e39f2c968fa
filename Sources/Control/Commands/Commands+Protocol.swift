extension Command {
    /// Commands about the conversation itself.
    static let protocolCommands: [Command] = [
        Command(
            "qmp_capabilities", "Agree on capabilities; there are none to agree on.",
            arguments: [Argument("enable", .array, optional: true)]
        ) { call in
            guard let capability = call.arguments.array("enable")?.first else { return .done(.emptyObject) }
            return .failed(QMPError("qmp_capabilities: capability \(JSONWriter.text(capability)) is not offered"))
        },
        Command("query-version", "The version of QMP spoken, and by whom.") { .done($0.version.json) },
        Command("query-commands", "The names of all commands.") { call in
            .done(.array(call.commands.commands.map { ["name": .string($0.name)] }))
        },
        .constant(
            "query-events", "The names of all events.",
            .array(QMPEvent.Name.allCases.map { ["name": .string($0.rawValue)] })),
    ]
}
