import EventLoop
import Host

/// Spaces the events of one name: one that comes soon after another waits, and of those that wait only the last is
/// posted.
final class EventThrottle: RingClient {
    private let interval: UInt64
    private let reactor: Reactor
    private let post: (QMPEvent) -> Void
    private var waiting: QMPEvent?
    private var isTimerSet = false

    /// - Parameters:
    ///   - interval: the shortest time between two events, in nanoseconds.
    ///   - post: tells the clients.
    init(interval: UInt64, reactor: Reactor, post: @escaping (QMPEvent) -> Void) {
        self.interval = interval
        self.reactor = reactor
        self.post = post
    }

    /// Posts the event now, or when its time has come.
    func take(_ event: QMPEvent) {
        guard !isTimerSet else {
            waiting = event
            return
        }
        post(event)
        isTimerSet = reactor.submit(.timeout(at: Clock.monotonic &+ interval), for: self)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        isTimerSet = false
        if let event = waiting.take(), !isRetiring { take(event) }
    }
}
