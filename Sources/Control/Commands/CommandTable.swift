/// All commands by name. What dispatches a command is also what describes it, so the two can't drift apart.
package struct CommandTable: Sendable {
    /// The rows in the order `query-commands` lists them.
    package let commands: [Command]
    private let index: [String: Int]

    /// A table of these rows. Where two share a name the first one counts.
    package init(_ commands: [Command]) {
        self.commands = commands
        index = Dictionary(commands.enumerated().map { ($1.name, $0) }) { first, _ in first }
    }

    /// The command of that name, or nil if there is none.
    package subscript(name: String) -> Command? {
        index[name].map { commands[$0] }
    }

    /// Every command that a machine answers.
    package static let standard = CommandTable(
        Command.protocolCommands + Command.lifecycle + Command.machineQueries + Command.blockQueries
            + Command.balloon + Command.plugging + Command.compatibility)
}
