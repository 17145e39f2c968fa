import JSONText

extension Command {
    /// Commands about the memory balloon.
    static let balloon: [Command] = [
        .immediate(
            "balloon",
            "Ask the guest to make do with so many bytes of memory; more than it has counts as all of it. "
                + "Where the balloon moves by itself, that is the most it leaves the guest.",
            arguments: [Argument("value", .integer(1...UInt64.max))], toleratesUnknown: true
        ) { call throws(QMPError) in
            try call.machine.setBalloon(call.arguments.integer("value") ?? .max)
            return .emptyObject
        },
        Command(
            "query-balloon", "How much memory the guest makes do with, and how it uses that, if it tells.",
            toleratesUnknown: true,
            returns: .structure([
                QMPMember("actual", .natural),
                QMPMember("stats", .object, "by QEMU's names, `stat-free-memory` and others", optional: true),
                QMPMember("last-update", .natural, "when the guest has told them, since 1970", optional: true),
            ])
        ) { call in
            do throws(QMPError) {
                try call.machine.queryBalloon { call.reply.succeed($0.json) }
                return .later
            } catch {
                return .failed(error)
            }
        },
    ]
}

extension BalloonInfo {
    /// What StratoVirt answers and, if the guest has told them, the statistics as QEMU names them.
    fileprivate var json: JSONValue {
        guard let statistics else { return ["actual": JSONValue(actual)] }
        var values: JSONObject = [:]
        for (name, value) in statistics.values { values.append("stat-" + name, JSONValue(value)) }
        return [
            "actual": JSONValue(actual), "stats": .object(values), "last-update": JSONValue(statistics.time),
        ]
    }
}
