import JSONText

extension Command {
    /// What devices have counted. Each counts on its own reactor, so that the answers come later.
    static let statistics: [Command] = [
        Command(
            "query-blockstats", "What each disk has done since the machine was started or the disk was plugged in.",
            arguments: [Argument("query-nodes", .boolean, "list images, not disks", optional: true)],
            returns: .list(
                of: .structure([
                    QMPMember("device", .string, "the drive's id", optional: true),
                    QMPMember("qdev", .string, "the device's id", optional: true), QMPMember("node-name", .string),
                    QMPMember("stats", .structure(blockCounters, open: true)),
                ]))
        ) { call in
            let disks = call.machine.blockDevices
            let listsNodes = call.arguments.boolean("query-nodes") == true
            call.machine.readCounters { [reply = call.reply] devices in
                let entries = disks.compactMap { disk -> JSONValue? in
                    guard let counters = devices.first(where: { $0.id == disk.deviceID })?.counters else { return nil }
                    var entry: JSONObject = ["node-name": .string(disk.id), "stats": counters.object]
                    if !listsNodes {
                        entry.append("device", .string(disk.id))
                        entry.append("qdev", .string(disk.deviceID))
                    }
                    return .object(entry)
                }
                reply.succeed(.array(entries))
            }
            return .later
        },
        Command(
            "query-stats", "Counters of all devices, or of some.",
            arguments: [
                Argument("target", .choice(["device"]), "what to tell of"),
                Argument("devices", .list(of: .string), "the ids of those to tell of", optional: true),
                Argument(
                    "providers",
                    .list(
                        of: .structure([
                            QMPMember("provider", .choice(["apus"])),
                            QMPMember("names", .list(of: .string), optional: true),
                        ])), "which counters to tell of", optional: true),
            ],
            returns: .list(
                of: .structure([
                    QMPMember("provider", .choice(["apus"])), QMPMember("qom-path", .string),
                    QMPMember(
                        "stats", .list(of: .structure([QMPMember("name", .string), QMPMember("value", .natural)]))),
                ]))
        ) { call in
            let ids = call.arguments.strings("devices")
            let names = wantedNames(call.arguments)
            call.machine.readCounters { [reply = call.reply] devices in
                let wanted = devices.filter { ids?.contains($0.id) ?? true }
                reply.succeed(.array(wanted.map { $0.json(names) }))
            }
            return .later
        },
        Command(
            "query-stats-schemas", "The counters that devices of this machine have.",
            arguments: [Argument("provider", .choice(["apus"]), optional: true)],
            returns: .list(
                of: .structure([
                    QMPMember("provider", .choice(["apus"])), QMPMember("target", .choice(["device"])),
                    QMPMember(
                        "stats",
                        .list(
                            of: .structure([
                                QMPMember("name", .string), QMPMember("type", .choice(["cumulative"])),
                                QMPMember("unit", .choice(["bytes"]), "a plain number if not there", optional: true),
                                QMPMember("exponent", .natural),
                            ]))),
                ]))
        ) { call in
            call.machine.readCounters { [reply = call.reply] devices in
                var names: Set<String> = []
                let counters = devices.flatMap(\.counters).filter { names.insert($0.name).inserted }
                reply.succeed([
                    ["provider": "apus", "target": "device", "stats": .array(counters.map(\.description))]
                ])
            }
            return .later
        },
    ]

    /// The names that `providers` lets through; nil for all.
    private static func wantedNames(_ arguments: CommandArguments) -> Set<String>? {
        guard let providers = arguments.array("providers") else { return nil }
        var names: Set<String> = []
        for provider in providers {
            guard case .array(let wanted) = provider["names"] else { return nil }
            for case .string(let name) in wanted { names.insert(name) }
        }
        return names
    }

    private static let blockCounters = [
        QMPMember("rd_operations", .natural), QMPMember("wr_operations", .natural),
        QMPMember("flush_operations", .natural), QMPMember("unmap_operations", .natural),
        QMPMember("rd_bytes", .natural), QMPMember("wr_bytes", .natural),
        QMPMember("failed_rd_operations", .natural), QMPMember("failed_wr_operations", .natural),
        QMPMember("failed_flush_operations", .natural), QMPMember("failed_unmap_operations", .natural),
        QMPMember("invalid_operations", .natural, "requests that the guest's driver got wrong"),
    ]
}

extension DeviceCounters {
    fileprivate func json(_ names: Set<String>?) -> JSONValue {
        let wanted = counters.filter { names?.contains($0.name) ?? true }
        return [
            "provider": "apus", "qom-path": .string("/machine/peripheral/\(id)"),
            "stats": .array(wanted.map { ["name": .string($0.name), "value": JSONValue($0.value)] }),
        ]
    }
}

extension [DeviceCounters.Counter] {
    /// Their values by their names.
    fileprivate var object: JSONValue {
        .object(JSONObject(map { JSONObject.Member(name: $0.name, value: JSONValue($0.value)) }))
    }
}

extension DeviceCounters.Counter {
    fileprivate var description: JSONValue {
        var json: JSONObject = ["name": .string(name), "type": "cumulative"]
        if isBytes { json.append("unit", "bytes") }
        json.append("exponent", 0)
        return .object(json)
    }
}
