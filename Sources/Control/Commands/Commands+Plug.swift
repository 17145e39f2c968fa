import JSONText
import Options

extension Command {
    /// Commands that bring devices into the machine and take them out of it, and what they are made of.
    static let plugging: [Command] = [
        Command(
            "blockdev-add", "Open an image for a disk; device_add makes the disk.",
            arguments: [Argument("node-name", .string)] + [Argument](QMPArguments.blockdevAddKeys)
        ) { call in
            outcome { () throws(QMPError) in
                let pairs = try call.arguments.pairs
                let spec = try decode { () throws(OptionError) in try QMPArguments.blockdevAdd(pairs) }
                try call.machine.addDrive(spec)
            }
        },
        Command("blockdev-del", "Close an image that no disk uses.", arguments: [Argument("node-name", .string)]) {
            call in
            outcome { () throws(QMPError) in
                try call.machine.removeDrive(call.arguments.string("node-name") ?? "")
            }
        },
        Command(
            "netdev_add", "Open a tap for a network card; device_add makes the card.",
            arguments: [Argument("id", .string)] + [Argument](QMPArguments.netdevAddKeys)
        ) { call in
            outcome { () throws(QMPError) in
                let (pairs, numbers) = (try call.arguments.pairs, call.machine.descriptorNumbers)
                try call.machine.addNetdev(
                    try decode { () throws(OptionError) in
                        try QMPArguments.netdevAdd(pairs, descriptors: numbers)
                    })
            }
        },
        Command("netdev_del", "Close a tap that no network card uses.", arguments: [Argument("id", .string)]) { call in
            outcome { () throws(QMPError) in try call.machine.removeNetdev(call.arguments.string("id") ?? "") }
        },
        Command(
            "set_link", "Plug the cable of a network card in, or pull it out.",
            arguments: [Argument("name", .string), Argument("up", .boolean)]
        ) { call in
            call.machine.setLink(
                call.arguments.string("name") ?? "", up: call.arguments.boolean("up") ?? true, call.reply)
            return .later
        },
        Command(
            "device_add", "Plug in a disk or a network card.",
            arguments: [Argument("id", .string), Argument("driver", .string)] + [Argument](QMPArguments.deviceAddKeys)
        ) { call in
            do throws(QMPError) {
                let pairs = try call.arguments.pairs
                let (device, slot) = try decode { () throws(OptionError) in try QMPArguments.deviceAdd(pairs) }
                call.machine.addDevice(device, slot: slot, call.reply)
                return .later
            } catch {
                return .failed(error)
            }
        },
        Command(
            "device_del", "Unplug a disk or a network card; DEVICE_DELETED tells when it has gone.",
            arguments: [Argument("id", .string)]
        ) { call in
            call.machine.removeDevice(call.arguments.string("id") ?? "", call.reply)
            return .later
        },
        Command(
            "object-add", "Add an iothread for devices that are plugged in later.",
            arguments: [Argument("qom-type", .string), Argument("id", .string)] + [Argument](QMPArguments.objectAddKeys)
                + [Argument("props", .object, "the same, as older clients wrap it", optional: true)]
        ) { call in
            do throws(QMPError) {
                // Older clients wrap what is not the type or the name.
                let pairs = try call.arguments.pairs.map { pair in
                    pair.key.hasPrefix("props.") ? KeyValue(String(pair.key.dropFirst(6)), pair.value) : pair
                }
                call.machine.addObject(
                    try decode { () throws(OptionError) in try QMPArguments.objectAdd(pairs) }, call.reply)
                return .later
            } catch {
                return .failed(error)
            }
        },
        Command("object-del", "Remove an iothread that no device uses.", arguments: [Argument("id", .string)]) {
            call in
            call.machine.removeObject(call.arguments.string("id") ?? "", call.reply)
            return .later
        },
        Command(
            "block_resize", "Give a disk's image another size, and tell the guest of it.",
            arguments: [
                Argument("device", .string, optional: true), Argument("node-name", .string, optional: true),
                Argument("size", .integer(0...UInt64(Int64.max))),
            ]
        ) { call in
            guard let id = call.arguments.string("device") ?? call.arguments.string("node-name") else {
                return .failed(QMPError("block_resize: argument 'device' or 'node-name' is missing"))
            }
            call.machine.resizeDisk(id, to: call.arguments.integer("size") ?? 0, call.reply)
            return .later
        },
        Command(
            "block_set_io_throttle", "Limit how many requests a second a disk carries out, reads and writes together.",
            arguments: [
                Argument("device", .string, optional: true), Argument("id", .string, optional: true),
                Argument("iops", .integer(0...UInt64(UInt32.max))),
            ] + unsupportedLimits.map { Argument($0, .integer(0...0), optional: true) }
        ) { call in
            guard let id = call.arguments.string("id") ?? call.arguments.string("device") else {
                return .failed(QMPError("block_set_io_throttle: argument 'id' is missing"))
            }
            call.machine.limitDisk(id, iops: UInt32(clamping: call.arguments.integer("iops") ?? 0), call.reply)
            return .later
        },
    ]

    /// Limits that a client may only say are none.
    private static let unsupportedLimits = ["bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"]

    private static func outcome(_ body: () throws(QMPError) -> Void) -> CommandOutcome {
        do throws(QMPError) {
            try body()
            return .done(.emptyObject)
        } catch {
            return .failed(error)
        }
    }

    private static func decode<T>(_ body: () throws(OptionError) -> T) throws(QMPError) -> T {
        do throws(OptionError) {
            return try body()
        } catch {
            throw QMPError(error.message)
        }
    }
}

extension CommandArguments {
    /// The arguments as the command line has them: numbers in decimal, members of nested objects under dotted names.
    ///
    /// - Throws: for a value that no option can have: a fraction, an array, null.
    var pairs: [KeyValue] {
        get throws(QMPError) {
            var pairs: [KeyValue] = []
            try Self.append(object, under: "", to: &pairs)
            return pairs
        }
    }

    private static func append(
        _ object: JSONObject, under prefix: String, to pairs: inout [KeyValue]
    ) throws(QMPError) {
        for member in object.members {
            let name = prefix + member.name
            switch member.value {
            case .string(let text):
                guard !text.utf8.contains(0) else { throw QMPError("argument '\(name)' contains a NUL character") }
                pairs.append(KeyValue(name, text))
            case .bool(let isOn): pairs.append(KeyValue(name, isOn ? "true" : "false"))
            case .integer(let number): pairs.append(KeyValue(name, String(number)))
            case .unsigned(let number): pairs.append(KeyValue(name, String(number)))
            case .object(let nested):
                guard prefix.isEmpty else { throw QMPError("argument '\(name)' is an object within an object") }
                try append(nested, under: name + ".", to: &pairs)
            case .null, .number, .array: throw QMPError("argument '\(name)' is \(member.value.kind)")
            }
        }
    }
}
