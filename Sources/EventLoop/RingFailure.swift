package import Host

/// Why a reactor cannot use its ring any more.
package struct RingFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The reactor's name.
    package let reactor: String
    /// What `io_uring_enter` answered.
    package let cause: Errno

    package init(reactor: String, cause: Errno) {
        self.reactor = reactor
        self.cause = cause
    }

    package var description: String { "\(reactor): io_uring_enter: \(cause)" }
}

extension Errno {
    /// Whether a failed `io_uring_enter` may succeed later: a signal came in between, memory is short, or completions
    /// have to be taken first. All others (a ring that is gone, lost completions) last.
    var isTransientForRing: Bool {
        self == .interrupted || self == .again || self == .busy || self == .noMemory
    }
}
