import Host

/// Goes off once, when its time has come: a timer of the kernel's that ends before, and with whatever, is set again.
package final class Alarm: RingClient {
    private let reactor: Reactor
    private let deadline: UInt64
    private let onTime: () -> Void

    /// Is set from now on until it goes off or retires, whether or not somebody keeps it.
    ///
    /// - Parameter deadline: of the monotonic clock, in nanoseconds.
    @discardableResult
    package init(_ reactor: Reactor, at deadline: UInt64, onTime: @escaping () -> Void) {
        self.reactor = reactor
        self.deadline = deadline
        self.onTime = onTime
        super.init()
        set()
    }

    private func set() { reactor.submit(.timeout(at: deadline), for: self) }

    override package func operationCompleted(tag: UInt32, result: Int32) {
        guard !isRetiring else { return }
        if Clock.monotonic < deadline { set() } else { onTime() }
    }
}
