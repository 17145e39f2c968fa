import Control
import EventLoop

/// QMP's clients, as the parts of a machine know them.
protocol QMPClients: AnyObject {
    /// Tells all clients of an event that has happened now.
    func post(_ event: QMPEvent)
    /// Takes no more commands, and calls `done` when each client has been sent its answers, or `nanoseconds` have
    /// passed.
    func close(within nanoseconds: UInt64, then done: @escaping () -> Void)
    /// Takes no more commands, and sends the clients what their sockets take at once: the main reactor's ring is lost.
    func closeWithoutRing()
}

extension QMPServer: QMPClients {}

/// The way to QMP's clients for what happens on any reactor. Events are lost as long as no clients are connected.
final class EventSink: Sendable {
    private let main: ReactorHandle
    private let receiver: ReactorBound<Receiver>

    private final class Receiver {
        weak var clients: (any QMPClients)?
    }

    /// - Parameter reactor: the main one.
    init(_ reactor: Reactor) {
        main = reactor.handle
        receiver = ReactorBound(Receiver(), to: reactor)
    }

    /// Sends events to `clients` from now on, as long as something else keeps them.
    ///
    /// - Parameter reactor: the main one.
    func connect(_ clients: any QMPClients, on reactor: Reactor) {
        receiver.value(on: reactor)?.clients = clients
    }

    /// The clients, for the main reactor.
    func clients(on reactor: Reactor) -> (any QMPClients)? { receiver.value(on: reactor)?.clients }

    /// Tells all clients, in a later turn of the main reactor.
    func post(_ event: QMPEvent) {
        main.send { [receiver] reactor in receiver.value(on: reactor)?.clients?.post(event) }
    }
}
