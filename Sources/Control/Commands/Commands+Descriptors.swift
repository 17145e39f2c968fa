import JSONText

extension Command {
    /// Commands about open files that clients hand over (SCM_RIGHTS).
    static let descriptors: [Command] = [
        .immediate(
            "getfd", "Keep the descriptor that came with this command under a name, for netdev_add.",
            arguments: [Argument("fdname", .string)]
        ) { call throws(QMPError) in
            guard let file = call.session.takeDescriptor() else {
                throw QMPError("getfd: Invalid SCM message: no descriptor came with the command")
            }
            try call.machine.keepDescriptor(file, as: call.arguments.string("fdname") ?? "")
            return .emptyObject
        },
        .immediate(
            "closefd", "Close a descriptor that getfd has kept.", arguments: [Argument("fdname", .string)]
        ) { call throws(QMPError) in
            try call.machine.closeDescriptor(call.arguments.string("fdname") ?? "")
            return .emptyObject
        },
        .immediate(
            "add-fd",
            "Keep the descriptor that came with this command in a set, which blockdev-add knows as /dev/fdset/N.",
            arguments: [
                Argument(
                    "fdset-id", setNumber, "the set; a new one of the lowest free number if not given", optional: true),
                Argument("opaque", .string, "what query-fdsets tells of it", optional: true),
            ],
            returns: .structure([QMPMember("fdset-id", setNumber), QMPMember("fd", .natural)])
        ) { call throws(QMPError) in
            guard let file = call.session.takeDescriptor() else {
                throw QMPError("add-fd: No file descriptor supplied via SCM_RIGHTS")
            }
            let (set, number) = try call.machine.addDescriptor(
                file, toSet: call.arguments.integer("fdset-id"), opaque: call.arguments.string("opaque"))
            return ["fdset-id": JSONValue(set), "fd": JSONValue(Int(number))]
        },
        .immediate(
            "remove-fd", "Close a descriptor of a set; disks that were made of it keep theirs.",
            arguments: [
                Argument("fdset-id", setNumber),
                Argument("fd", .natural, "all of the set if not given", optional: true),
            ]
        ) { call throws(QMPError) in
            try call.machine.removeDescriptor(
                call.arguments.integer("fd"), fromSet: call.arguments.integer("fdset-id") ?? 0)
            return .emptyObject
        },
        .query(
            "query-fdsets", "The sets of descriptors that add-fd has made.", returns: .list(of: FDSetInfo.type)
        ) { .array($0.descriptorSets.map(\.json)) },
    ]

    fileprivate static let setNumber = QMPType.integer(0...UInt64(Int64.max))
}

extension FDSetInfo {
    fileprivate static let type = QMPType.structure([
        QMPMember("fdset-id", Command.setNumber),
        QMPMember(
            "fds",
            .list(of: .structure([QMPMember("fd", .natural), QMPMember("opaque", .string, optional: true)]))),
    ])

    fileprivate var json: JSONValue {
        let members = descriptors.map { descriptor in
            var object: JSONObject = ["fd": JSONValue(Int(descriptor.number))]
            if let opaque = descriptor.opaque { object.append("opaque", .string(opaque)) }
            return JSONValue.object(object)
        }
        return ["fdset-id": JSONValue(number), "fds": .array(members)]
    }
}
