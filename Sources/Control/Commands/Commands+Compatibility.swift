import JSONText

extension Command {
    /// What management tools ask of every monitor and a microVM has nothing of; the empty answers are the truth.
    static let compatibility: [Command] = [
        .constant("query-tpm-models", "TPM models; there are none.", returns: .array, []),
        .constant("query-tpm-types", "TPM back ends; there are none.", returns: .array, []),
        .constant("query-migrate-capabilities", "Migration capabilities; there are none.", returns: .array, []),
        .constant(
            "query-gic-capabilities", "Emulated interrupt controllers of AArch64; there are none.", returns: .array,
            []),
        .constant("query-sev-capabilities", "Means of memory encryption; there are none.", returns: .object, [:]),
        .constant(
            "query-migrate", "The state of a migration. There is none, which StratoVirt calls `setup`.",
            returns: .structure([QMPMember("status", .string)]), ["status": "setup"]),
        .constant("migrate_cancel", "End a migration; without one, nothing happens.", returns: .nothing, [:]),
        Command(
            "trace-get-state", "The trace events whose name matches; there are none.",
            arguments: [Argument("name", .string, "a pattern"), Argument("vcpu", .natural, optional: true)],
            returns: .array
        ) { _ in .done([]) },
        .immediate(
            "human-monitor-command", "A command of QEMU's human monitor: `info snapshots` is the one there is.",
            arguments: [Argument("command-line", .string), Argument("cpu-index", .natural, optional: true)],
            returns: .string
        ) { call throws(QMPError) in
            let line = call.arguments.string("command-line") ?? ""
            guard line.split(separator: " ") == ["info", "snapshots"] else {
                throw QMPError("Unsupported command: \(line)")
            }
            return "There is no snapshot available.\r\n"
        },
    ]
}
