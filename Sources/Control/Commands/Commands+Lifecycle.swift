extension Command {
    /// Commands that start, stop and end the machine.
    static let lifecycle: [Command] = [
        .query("query-status", "Whether the machine runs.") { machine in
            let status = machine.status
            return [
                "singlestep": false, "running": .bool(status == .running), "status": .string(status.rawValue),
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
        Command("system_powerdown", "Ask the guest to power off.") { call in
            do throws(QMPError) {
                try call.machine.powerDown()
                return .done(.emptyObject)
            } catch {
                return .failed(error)
            }
        },
        Command("system_reset", "Start the machine anew, without asking the guest.") { call in
            do throws(QMPError) {
                try call.machine.reset()
                return .done(.emptyObject)
            } catch {
                return .failed(error)
            }
        },
    ]
}
