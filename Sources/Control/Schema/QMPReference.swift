/// The reference of QMP for people, `qmp.md`, made from the tables that serve it. `hack/qmp-docs` writes it anew; a unit
/// test fails when the file and the tables differ.
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
        # QMP

        Written by `hack/qmp-docs` from the tables in `Sources/Control` that serve it; change those instead.

        ## The protocol

        A message is one JSON object; answers and events end in `\\r\\n`. What a client sends need not end in anything,
        and may come in pieces or several at a time. A command is

            {"execute": NAME, "arguments": {...}, "id": ANYTHING}

        with `arguments` and `id` where needed, in any order. The answer is `{"return": VALUE}` or
        `{"error": {"class": CLASS, "desc": TEXT}}`, with the `id` if there was one. `CLASS` is `GenericError`, except
        where an entry says otherwise: `DeviceNotFound` for a name that nothing has, `DeviceNotActive` for a device that
        no driver uses. An argument that a command does not have is an error, unless its entry says that others are
        passed over.

        Each connection is a session of its own. `qmp_capabilities` is not needed before other commands. Events come to
        every session, behind its first answer. Up to 16 clients may be connected, on all sockets of `-qmp` and `-mon`
        together; a further one is closed at once.

        Out-of-band execution: a session that has enabled the capability `oob` may write `exec-oob` in the place of
        `execute`, for the commands that are marked so. They overtake commands of the same session that are unfinished or
        wait, as long as no more than 8 wait. Other sessions never wait for each other's commands.

        A client that sends faster than it reads is held up: while 256 KiB of answers wait for it no further command of
        it is run, and what it sends stays in its socket. Of events the last 50 are kept for it. It is not disconnected
        for that, and nobody else notices; only at the machine's end it has half a second to take what it is owed. One
        message has at most 64 KiB and 64 levels.

        Types are written as `str`, `bool`, `int` (not negative, with its limits if it has narrower ones than 64 bits),
        `number`, `any`, `'a'|'b'` for one of these words, `[TYPE]` for an array and `{"member": TYPE}` for an object;
        `"member"?` may be missing, and `...` are further members.
        """

    private static func entry(_ command: Command) -> [String] {
        var lines = ["", "### \(command.name)", "", command.summary]
        if command.allowsOutOfBand { lines[lines.count - 1] += " May be executed out of band." }
        if !command.arguments.isEmpty {
            lines.append("")
            lines += command.arguments.map { "- `\(text($0))`\($0.summary.isEmpty ? "" : ": \($0.summary)")" }
        }
        if command.toleratesUnknown { lines += ["", "Other arguments are passed over."] }
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
