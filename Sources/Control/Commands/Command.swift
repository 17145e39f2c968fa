/// One row of the command table: what a command is called, what it takes, and what it does.
package struct Command: Sendable {
    /// What an argument's value may be.
    package enum ArgumentType: Equatable, Sendable {
        case string
        case boolean
        /// An integer within the range.
        case integer(ClosedRange<UInt64>)
        case array
        case object

        /// The type in the words of an error message.
        var description: String {
            switch self {
            case .string: "a string"
            case .boolean: "a boolean"
            case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
            case .array: "an array"
            case .object: "an object"
            }
        }
    }

    /// One member of `arguments`.
    package struct Argument: Equatable, Sendable {
        package let name: String
        package let type: ArgumentType
        package let isOptional: Bool

        package init(_ name: String, _ type: ArgumentType, optional isOptional: Bool = false) {
            self.name = name
            self.type = type
            self.isOptional = isOptional
        }
    }

    package let name: String
    /// What it does, in one sentence.
    package let summary: String
    package let arguments: [Argument]
    /// Whether members of `arguments` that the row doesn't name are passed over instead of refused.
    package let toleratesUnknown: Bool
    let run: @Sendable (CommandCall) -> CommandOutcome

    package init(
        _ name: String, _ summary: String, arguments: [Argument] = [], toleratesUnknown: Bool = false,
        run: @escaping @Sendable (CommandCall) -> CommandOutcome
    ) {
        self.name = name
        self.summary = summary
        self.arguments = arguments
        self.toleratesUnknown = toleratesUnknown
        self.run = run
    }

    /// A command without arguments that only reads the machine's state.
    static func query(
        _ name: String, _ summary: String, _ answer: @escaping @Sendable (any MachineControl) -> JSONValue
    ) -> Command {
        Command(name, summary) { .done(answer($0.machine)) }
    }

    /// A command without arguments whose answer never changes.
    static func constant(_ name: String, _ summary: String, _ answer: JSONValue) -> Command {
        Command(name, summary) { _ in .done(answer) }
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
