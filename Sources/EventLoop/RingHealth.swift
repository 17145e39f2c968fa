import Host

/// What a reactor makes of failures of its ring: it pauses and tries again, or the ring is lost.
struct RingHealth {
    private var retries = EnterRetries()
    private var waits = WaitFailures()
    private var lostAt: UInt64 = 0
    private var isTold = false
    // How long the next turn sleeps first, in nanoseconds.
    private var pause: UInt64 = 0

    /// Why the ring is lost; nil while it works.
    private(set) var failure: RingFailure?
    /// Whether the ring is not to be used any more.
    private(set) var isLost = false

    /// How long a lost reactor serves other threads, in nanoseconds: its owner has ended them by then.
    private static let lostTime: UInt64 = 10_000_000_000

    /// Notes how entering the kernel went.
    mutating func note(_ error: Errno?, of reactor: String) {
        guard let error else {
            if retries.failures > 0 { retries.reset() }
            return
        }
        guard !isLost else { return }
        if error.isTransientForRing, let wait = retries.next() {
            pause = max(pause, wait)
        } else {
            failure = RingFailure(reactor: reactor, cause: error)
            isLost = true
            lostAt = Clock.monotonic
        }
    }

    /// Notes the result of a timer, poll or other wait that has failed.
    mutating func noteFailedWait(_ result: Int32) {
        waits.note(result)
    }

    /// Notes that a turn has taken completions, for want of which the kernel may have refused more.
    mutating func noteCompletions() {
        if retries.failures > 0 { retries.reset() }
        pause = max(pause, waits.endTurn())
    }

    /// How long to sleep before anything else, in nanoseconds, once.
    mutating func takePause() -> UInt64 {
        guard pause > 0 else { return 0 }
        defer { pause = 0 }
        return pause
    }

    /// The failure, once, if there is one.
    mutating func takeUntold() -> RingFailure? {
        guard isLost, !isTold else { return nil }
        isTold = true
        return failure
    }

    /// Whether the ring has been lost for so long that nothing more is to be served.
    var isOver: Bool { isLost && Clock.monotonic &- lostAt >= Self.lostTime }
}
