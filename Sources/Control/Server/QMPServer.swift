package import EventLoop
import Host

/// Serves QMP to several clients at once, on one reactor.
///
/// Each client is a `QMPConnection` with bounds of its own; none can hold up another or the devices beside it.
package final class QMPServer {
    /// What clients may use.
    package struct Limits: Sendable {
        /// Clients at a time. A further one takes the place of the client that has been idle longest.
        package var clients = 16
        /// What all clients together may use of one turn of the reactor.
        package var turn = QMPAllowance(commands: 64, bytes: 64 << 10)
        /// What one client may use of one turn of the reactor.
        package var share = QMPAllowance(commands: 16, bytes: 16 << 10)
        package var session = QMPSession.Limits()

        package init() {}
    }

    private let reactor: Reactor
    private let version: QMPVersion
    /// Not made before there is a client: that is no business of a machine's start.
    private lazy var commands = makeCommands()
    private let makeCommands: () -> CommandTable
    private let limits: Limits
    /// Let go of at the end, since the machine owns the server.
    private var machine: (any MachineControl)?
    private var acceptors: [Acceptor] = []
    /// The client idle longest comes first.
    private var connections: [QMPConnection] = []
    private let turns: QMPTurns
    private var ending: Ending?
    private var throttles: [QMPEvent.Name: EventThrottle] = [:]
    private var refusals = LogLimit()

    package init(
        reactor: Reactor, machine: any MachineControl, version: QMPVersion,
        commands: @autoclosure @escaping () -> CommandTable = .standard,
        limits: Limits = Limits()
    ) {
        self.reactor = reactor
        self.machine = machine
        self.version = version
        makeCommands = commands
        self.limits = limits
        turns = QMPTurns(reactor, total: limits.turn, share: limits.share)
    }

    deinit {
        abandon()
    }

    /// Closes the sockets and removes their files at once, without a turn of the reactor: the machine does not start.
    package func abandon() {
        for acceptor in acceptors { acceptor.close() }
        acceptors = []
    }

    /// Serves the clients that connect, or have connected already, to `listener`.
    package func listen(on listener: consuming QMPListener) {
        let acceptor = Acceptor(reactor, listener.socket, name: "qmp") { [weak self] client in self?.add(client) }
        acceptors.append(acceptor)
        acceptor.acceptAll()
    }

    /// How many clients are connected.
    package var clientCount: Int { connections.count }

    /// Tells every client of an event that has happened now; of one whose name has an interval, no more often than that.
    package func post(_ event: QMPEvent) {
        let interval = event.name.interval
        guard interval > 0 else { return tell(event) }
        let throttle =
            throttles[event.name]
            ?? EventThrottle(interval: interval, reactor: reactor) { [weak self] in self?.tell($0) }
        throttles[event.name] = throttle
        throttle.take(event)
    }

    private func tell(_ event: QMPEvent) {
        let now = Clock.realTime
        let time = QMPEvent.Timestamp(seconds: now / 1_000_000_000, microseconds: now % 1_000_000_000 / 1_000)
        for connection in connections { connection.session.post(event, at: time) }
    }

    /// Ends the service: takes no client and no command any more, sends what is still owed, and calls `done` when all
    /// clients have been sent it or `nanoseconds` have passed. The sockets' files are gone by then.
    package func close(within nanoseconds: UInt64, then done: @escaping () -> Void) {
        guard ending == nil else { return }
        let limit = Alarm(reactor, at: Clock.monotonic &+ nanoseconds) { [weak self] in self?.cutOff() }
        ending = Ending(limit: limit, done: done)
        for throttle in throttles.values { reactor.retire(throttle) }
        abandon()
        for connection in connections { connection.finish() }
        endIfIdle()
    }

    /// Ends the service of a reactor whose ring is lost: sends the clients at once what they are owed, as far as their
    /// sockets take it, and removes the sockets' files.
    package func closeWithoutRing() {
        for connection in connections { connection.sendWithoutRing() }
        abandon()
    }

    /// The time to end in is up.
    private func cutOff() {
        for connection in connections { reactor.retire(connection) }
    }

    /// Takes the connection of one client.
    private func add(_ socket: consuming FileDescriptor) {
        guard let machine, ending == nil else { return }
        guard connections.count < limits.clients || makeRoom() else {
            refusals.write(.warn, "qmp", "a client was refused: \(limits.clients) others wait for answers")
            return
        }
        let session = QMPSession(version: version, commands: commands, machine: machine, limits: limits.session)
        let connection = QMPConnection(socket, session: session, reactor: reactor, server: self, turns: turns)
        connections.append(connection)
        Log.debug("qmp", "a client has connected; \(connections.count) in all")
        connection.start()
    }

    /// Closes the connection of the client idle longest. Returns false if all wait for answers.
    private func makeRoom() -> Bool {
        guard let index = connections.firstIndex(where: { !$0.session.isBusy }) else { return false }
        refusals.write(.warn, "qmp", "the client idle longest was closed: another one has connected")
        reactor.retire(connections.remove(at: index))
        return true
    }

    /// Notes that a client has sent something.
    func noteActivity(_ connection: QMPConnection) {
        guard let index = connections.firstIndex(where: { $0 === connection }) else { return }
        connections.append(connections.remove(at: index))
    }

    func remove(_ connection: QMPConnection) {
        connections.removeAll { $0 === connection }
        Log.debug("qmp", "a client has gone; \(connections.count) left")
        endIfIdle()
    }

    private func endIfIdle() {
        guard let ending, connections.isEmpty else { return }
        machine = nil
        reactor.retire(ending.limit)
        ending.finish()
    }

    /// The end of the service, under way.
    private final class Ending {
        let limit: Alarm
        private var done: (() -> Void)?

        init(limit: Alarm, done: @escaping () -> Void) {
            self.limit = limit
            self.done = done
        }

        func finish() {
            let done = self.done
            self.done = nil
            done?()
        }
    }
}
