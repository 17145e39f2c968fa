import JSONText

/// One row of the command table: what a command is called, what it takes and gives, and what it does.
package struct Command: Sendable {
    package typealias Argument = QMPMember

    package let name: String
    /// What it does, in one sentence.
    package let summary: String
    package let arguments: [Argument]
    /// Whether members of `arguments` that the row doesn't name are passed over instead of refused.
    package let toleratesUnknown: Bool
    /// What its `return` member holds.
    package let returns: QMPType
    /// Whether it may overtake commands that came before it (`exec-oob`). Such a command answers at once.
    package let allowsOutOfBand: Bool
    let run: @Sendable (CommandCall) -> CommandOutcome

    package init(
        _ name: String, _ summary: String, arguments: [Argument] = [], toleratesUnknown: Bool = false,
        returns: QMPType = .nothing, allowsOutOfBand: Bool = false,
        run: @escaping @Sendable (CommandCall) -> CommandOutcome
    ) {
        self.name = name
        self.summary = summary
        self.arguments = arguments
        self.toleratesUnknown = toleratesUnknown
        self.returns = returns
        self.allowsOutOfBand = allowsOutOfBand
        self.run = run
    }

    /// A command without arguments that only reads the machine's state.
    static func query(
        _ name: String, _ summary: String, returns: QMPType,
        _ answer: @escaping @Sendable (any MachineControl) -> JSONValue
    ) -> Command {
        Command(name, summary, returns: returns) { .done(answer($0.machine)) }
    }

    /// A command without arguments whose answer never changes.
    static func constant(
        _ name: String, _ summary: String, returns: QMPType, _ answer: JSONValue
    ) -> Command {
        Command(name, summary, returns: returns) { _ in .done(answer) }
    }

    /// A command that is carried out on the spot, with an answer or an error.
    static func immediate(
        _ name: String, _ summary: String, arguments: [Argument] = [], toleratesUnknown: Bool = false,
        returns: QMPType = .nothing, allowsOutOfBand: Bool = false,
        _ body: @escaping @Sendable (CommandCall) throws(QMPError) -> JSONValue
    ) -> Command {
        Command(
            name, summary, arguments: arguments, toleratesUnknown: toleratesUnknown, returns: returns,
            allowsOutOfBand: allowsOutOfBand
        ) { call in
            do throws(QMPError) {
                return .done(try body(call))
            } catch {
                return .failed(error)
            }
        }
    }
}

/// What a command's handler is given.
package struct CommandCall {
    /// Checked against the command's row.
    package let arguments: CommandArguments
    package let machine: any MachineControl
    package let version: QMPVersion
    package let commands: CommandTable
    /// Whose descriptor a command may take.
    package let session: QMPSession
    /// To be kept by whoever finishes the command when the handler returns `.later`.
    package let reply: QMPReply
}
