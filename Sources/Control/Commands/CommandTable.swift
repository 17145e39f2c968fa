/// All commands by name. What dispatches a command is also what describes it, so the two can't drift apart.
package struct CommandTable: Sendable {
    /// Commands that belong together, under a heading of the reference.
    package struct Section: Sendable {
        package let title: String
        package let commands: [Command]

        init(_ title: String, _ commands: [Command]) {
            self.title = title
            self.commands = commands
        }
    }

    package let sections: [Section]
    /// The rows in the order `query-commands` lists them.
    package let commands: [Command]
    private let index: [String: Int]

    /// A table of these rows. Where two share a name the first one counts.
    package init(_ sections: [Section]) {
        self.sections = sections
        commands = sections.flatMap(\.commands)
        index = Dictionary(commands.enumerated().map { ($1.name, $0) }) { first, _ in first }
    }

    /// A table of these rows without headings.
    package init(_ commands: [Command]) {
        self.init([Section("Commands", commands)])
    }

    /// The command of that name, or nil if there is none.
    package subscript(name: String) -> Command? {
        index[name].map { commands[$0] }
    }

    /// Every command that a machine answers.
    package static let standard = CommandTable([
        Section("Protocol", Command.protocolCommands),
        Section("Lifecycle", Command.lifecycle),
        Section("Machine and vCPUs", Command.machineQueries),
        Section("Memory", Command.balloon),
        Section("Disks", Command.blockQueries),
        Section("Hot plug", Command.plugging),
        Section("Descriptor passing", Command.descriptors),
        Section("Statistics", Command.statistics),
        Section("Connections", Command.yank),
        Section("Object model", Command.objectModel),
        Section("Compatibility stubs", Command.compatibility),
        Section("Commands not supported on microvm", Command.standardMachine),
    ])
}
