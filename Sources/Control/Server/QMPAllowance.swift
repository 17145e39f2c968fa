/// Work that one turn of the reactor may spend on clients.
package struct QMPAllowance: Sendable {
    package var commands: Int
    /// Bytes of commands read and of answers written. The command that passes the limit is still carried out.
    package var bytes: Int

    package init(commands: Int, bytes: Int = .max) {
        self.commands = commands
        self.bytes = bytes
    }

    var isUsedUp: Bool { commands <= 0 || bytes <= 0 }

    /// What one of several clients may use of this at most.
    func limited(to other: QMPAllowance) -> QMPAllowance {
        QMPAllowance(commands: min(commands, other.commands), bytes: min(bytes, other.bytes))
    }
}
