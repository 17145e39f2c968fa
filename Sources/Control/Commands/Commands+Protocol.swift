import JSONText

extension Command {
    /// Commands about the conversation itself.
    static let protocolCommands: [Command] = [
        .immediate(
            "qmp_capabilities", "Agree on capabilities. Welcome at any time, and not needed before other commands.",
            arguments: [
                Argument(
                    "enable", .list(of: .string), "of what the greeting offers: `oob`, out-of-band execution",
                    optional: true)
            ]
        ) { call throws(QMPError) in
            let wanted = call.arguments.strings("enable") ?? []
            if let other = wanted.first(where: { !QMPVersion.capabilities.contains($0) }) {
                throw QMPError("qmp_capabilities: capability '\(other)' is not offered")
            }
            call.session.allowsOutOfBand = wanted.contains(QMPVersion.outOfBand)
            return .emptyObject
        },
        Command("query-version", "The version of QMP spoken, and by whom.", returns: QMPVersion.type) {
            .done($0.version.json)
        },
        Command("query-commands", "The names of all commands.", returns: .list(of: namedType)) { call in
            .done(.array(call.commands.commands.map { ["name": .string($0.name)] }))
        },
        .constant(
            "query-events", "The names of all events.", returns: .list(of: namedType),
            .array(QMPEvent.Name.allCases.map { ["name": .string($0.rawValue)] })),
        Command(
            "query-qmp-schema", "Every command and event with its types, in QEMU's introspection format.",
            returns: .list(of: .object)
        ) { _ in .written(QMPSchema.text) },
    ]

    private static let namedType = QMPType.structure([QMPMember("name", .string)])
}
