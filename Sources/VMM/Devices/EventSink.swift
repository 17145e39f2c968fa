import Control
import EventLoop

/// Lets devices of any reactor tell QMP's clients what has happened.
final class EventSink: Sendable {
    private let main: ReactorHandle
    private let receiver: ReactorBound<Receiver>

    private final class Receiver {
        weak var machine: Machine?
    }

    /// - Parameter reactor: the main one.
    init(_ reactor: Reactor) {
        main = reactor.handle
        receiver = ReactorBound(Receiver(), to: reactor)
    }

    /// From now on events reach the clients of `machine`; they are lost before.
    func connect(_ machine: Machine, on reactor: Reactor) {
        receiver.value(on: reactor)?.machine = machine
    }

    /// Tells all clients, soon.
    func post(_ event: QMPEvent) {
        main.send { [receiver] reactor in receiver.value(on: reactor)?.machine?.post(event) }
    }
}
