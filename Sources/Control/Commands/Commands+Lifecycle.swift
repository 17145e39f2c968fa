extension Command {
    /// Commands that start, stop and end the machine.
    static let lifecycle: [Command] = [
        .query(
            "query-status", "Whether the machine runs.",
            returns: .structure([
                QMPMember("running", .boolean), QMPMember("singlestep", .boolean),
                QMPMember("status", .choice(RunStatus.allCases.map(\.rawValue))),
            ])
        ) { machine in
            [
                "singlestep": false, "running": .bool(machine.isRunning), "status": .string(machine.status.rawValue),
            ]
        },
        Command("stop", "Halt all vCPUs and finish the I/O in flight; stopping twice is no error.") { call in
            call.machine.stop(call.reply)
            return .later
        },
        Command("cont", "Let the vCPUs run; continuing what runs is no error.") { call in
            call.machine.resume(call.reply)
            return .later
        },
        Command("quit", "End the machine at once.") { call in
            call.machine.quit()
            return .done(.emptyObject)
        },
        .immediate("system_powerdown", "Ask the guest to power off.") { call throws(QMPError) in
            try call.machine.powerDown()
            return .emptyObject
        },
        .immediate("system_reset", "Start the machine anew, without asking the guest.") { call throws(QMPError) in
            try call.machine.reset()
            return .emptyObject
        },
    ]
}
