package import EventLoop
package import Host

/// An edge-triggered interrupt of one device: an eventfd that KVM turns into an interrupt.
///
/// Raising costs no system call of its own: the write rides in the reactor's next submission.
package final class InterruptLine {
    private let event: EventFD
    private let reactor: Reactor

    /// A line raised on `reactor`'s thread.
    package init(_ reactor: Reactor) throws(Errno) {
        event = try EventFD()
        self.reactor = reactor
    }

    /// The eventfd's number, for KVM's irqfd and for tests.
    package var descriptor: Int32 { event.rawValue }

    /// Raises the interrupt once, with the reactor's next submission.
    package func raise() {
        reactor.signal(event.rawValue)
    }

    /// Takes how often the line was raised since the last call; only where no KVM does.
    package func takeRaised() -> UInt64 {
        event.take() ?? 0
    }
}
