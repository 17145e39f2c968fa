import JSONText

extension Command {
    /// Commands that get a machine out of a connection that hangs. They may overtake others, as in QEMU.
    static let yank: [Command] = [
        Command(
            "query-yank", "What `yank` can break.", returns: .list(of: instanceType), allowsOutOfBand: true
        ) { call in
            let sockets = call.machine.characterDevices.filter(\.isSocket)
            return .done(.array(sockets.map { ["type": "chardev", "id": .string($0.label)] }))
        },
        .immediate(
            "yank", "Break the connections of character devices. One that listens takes the next client.",
            arguments: [Argument("instances", .list(of: instanceType))], allowsOutOfBand: true
        ) { call throws(QMPError) in
            let labels = (call.arguments.array("instances") ?? []).compactMap { instance -> String? in
                if case .string(let id) = instance["id"] { id } else { nil }
            }
            try call.machine.disconnect(characterDevices: labels)
            return .emptyObject
        },
    ]

    private static let instanceType = QMPType.structure([
        QMPMember("type", .choice(["chardev"])), QMPMember("id", .string),
    ])
}
