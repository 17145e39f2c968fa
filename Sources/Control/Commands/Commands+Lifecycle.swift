import JSONText

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
        Command("stop", "Pause all vCPUs and finish the I/O in flight; succeeds if the VM is paused already.") { call in
            call.machine.stop(call.reply)
            return .later
        },
        Command("cont", "Run the vCPUs; succeeds if they run already.") { call in
            call.machine.resume(call.reply)
            return .later
        },
        Command("quit", "End the VM at once.") { call in
            call.machine.quit()
            return .done(.emptyObject)
        },
        .immediate(
            "system_powerdown", "End the VM at once, as `quit` does, and post POWERDOWN; the guest is not asked."
        ) { call throws(QMPError) in
            try call.machine.powerDown()
            return .emptyObject
        },
        .immediate("system_reset", "End the VM at once, as `quit` does, and post RESET; the client starts the next VM.")
        { call throws(QMPError) in
            try call.machine.reset()
            return .emptyObject
        },
    ]
}
