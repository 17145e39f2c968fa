import EventLoop

/// Serves connections one after another, within a limit for each turn of the reactor.
///
/// A connection with more to do than its share of a turn goes to the end of the row, so that many clients with large
/// queries delay neither the devices on the reactor nor a client with a small query.
final class QMPTurns: RingClient {
    private let reactor: Reactor
    /// What all clients may use of a turn.
    private let total: QMPAllowance
    /// What one client may use of a turn.
    private let share: QMPAllowance
    private var waiting: [QMPConnection] = []

    init(_ reactor: Reactor, total: QMPAllowance, share: QMPAllowance) {
        self.reactor = reactor
        self.total = total
        self.share = share
    }

    /// Serves the connection when its turn has come.
    func add(_ connection: QMPConnection) {
        guard !connection.isWaitingForTurn else { return }
        connection.isWaitingForTurn = true
        waiting.append(connection)
        reactor.schedule(self)
    }

    override func endOfTurn() {
        var left = total
        var served = 0
        let row = waiting
        waiting = []
        while served < row.count, !left.isUsedUp {
            let connection = row[served]
            served += 1
            let given = left.limited(to: share)
            var rest = given
            connection.isWaitingForTurn = false
            connection.serve(&rest)
            left.commands -= given.commands - rest.commands
            left.bytes -= given.bytes - rest.bytes
        }
        waiting = row[served...] + waiting
        if !waiting.isEmpty { reactor.schedule(self) }
    }
}
