package import EventLoop
package import Host

/// An edge-triggered interrupt of one device: an eventfd that KVM turns into an interrupt.
///
/// Raising costs no system call of its own: the write rides in the reactor's next submission.
package final class InterruptLine {
    private let event: Event
    private let reactor: Reactor

    private final class Event {
        let descriptor: EventFD

        init() throws(Errno) {
            descriptor = try EventFD()
        }
    }

    /// A line raised on `reactor`'s thread.
    package init(_ reactor: Reactor) throws(Errno) {
        event = try Event()
        self.reactor = reactor
    }

    /// The same line, raised on another reactor's thread; `other` must not be used any more.
    package init(_ other: InterruptLine, on reactor: Reactor) {
        event = other.event
        self.reactor = reactor
    }

    /// The eventfd's number, for KVM's irqfd and for tests.
    package var descriptor: Int32 { event.descriptor.rawValue }

    /// Raises the interrupt once, with the reactor's next submission.
    package func raise() {
        reactor.signal(descriptor)
    }

    /// Takes how often the line was raised since the last call; only where no KVM does.
    package func takeRaised() -> UInt64 {
        event.descriptor.take() ?? 0
    }
}
