/// The QMP reference of the documentation, `QMP.md`, made from the command and event tables. `hack/qmp-docs` writes the
/// file; a unit test fails if file and tables differ.
package enum QMPReference {
    /// The whole text.
    package static var text: String {
        var lines = [preface]
        for section in CommandTable.standard.sections {
            lines += ["", "## \(section.title)"]
            for command in section.commands { lines += entry(command) }
        }
        lines += ["", "## Events"]
        for event in QMPEvent.Name.allCases { lines += entry(event) }
        return lines.joined(separator: "\n") + "\n"
    }

    private static let preface = """
        # QMP reference

        Every command and event of the QMP socket. `hack/qmp-docs` writes this page from the tables in
        `Sources/Control`; change the tables, then run it.

        ## Messages

        A message is one JSON object. Apus ends each answer and each event with `\\r\\n`. A client needs no line end, and
        may send a message in pieces or several messages at once. A command is

            {"execute": NAME, "arguments": {...}, "id": ANYTHING}

        where `arguments` and `id` are optional, in any order. The answer is `{"return": VALUE}` or
        `{"error": {"class": CLASS, "desc": TEXT}}`, with the `id` of the command. `CLASS` is `GenericError` unless the
        entry says otherwise: `DeviceNotFound` for an unknown name, `DeviceNotActive` for a device without a driver. An
        unknown argument is an error unless the entry says that Apus ignores others.

        Each connection is a session. A client may send commands without `qmp_capabilities`. Events reach every session
        after its first answer. At most 16 clients may be connected to all sockets of `-qmp` and `-mon` together.

        ## Out-of-band execution

        A session that enables the capability `oob` may write `exec-oob` instead of `execute` for the commands that are
        marked so. Such a command overtakes the waiting commands of its session, as long as at most 8 wait. Sessions
        never wait for each other's commands.

        ## Limits

        A message has at most 64 KiB and 64 levels of nesting. While 256 KiB of answers wait for a client, Apus runs no
        further command of that client. Apus keeps the last 50 events for a client that does not read. A slow client
        stays connected and does not delay others. When the VM ends, each client has half a second to read the rest.

        ## Types

        `str`, `bool`, `int` (not negative; with its limits if they are narrower than 64 bits), `number`, `any`,
        `'a'|'b'` for one of these words, `[TYPE]` for an array, and `{"member": TYPE}` for an object. `"member"?` is
        optional, and `...` stands for further members.
        """

    private static func entry(_ command: Command) -> [String] {
        var lines = ["", "### \(command.name)", "", command.summary]
        if command.allowsOutOfBand { lines[lines.count - 1] += " May be executed out of band." }
        if !command.arguments.isEmpty {
            lines.append("")
            lines += command.arguments.map { "- `\(text($0))`\($0.summary.isEmpty ? "" : ": \($0.summary)")" }
        }
        if command.toleratesUnknown { lines += ["", "Apus ignores other arguments."] }
        if command.returns != .nothing { lines += ["", "Returns `\(text(command.returns))`"] }
        return lines
    }

    private static func entry(_ event: QMPEvent.Name) -> [String] {
        var lines = ["", "### \(event.rawValue)", "", event.summary]
        if !event.members.isEmpty {
            lines.append("")
            lines += event.members.map { "- `\(text($0))`\($0.summary.isEmpty ? "" : ": \($0.summary)")" }
        }
        return lines
    }

    private static func text(_ member: QMPMember) -> String {
        "\"\(member.name)\"\(member.isOptional ? "?" : ""): \(text(member.type))"
    }

    private static func text(_ type: QMPType) -> String {
        switch type {
        case .any: "any"
        case .string: "str"
        case .boolean: "bool"
        case .natural: "int"
        case .integer(let range): "int \(range.lowerBound)...\(range.upperBound)"
        case .number: "number"
        case .choice(let words): words.map { "'\($0)'" }.joined(separator: "|")
        case .list(let element): "[\(text(element))]"
        case .structure(let members, let open):
            "{\((members.map { text($0) } + (open ? ["..."] : [])).joined(separator: ", "))}"
        }
    }
}
