import Host

/// Slows a reactor down whose timers and polls fail turn after turn, since their clients set them again at once.
///
/// A host that is short of memory refuses them without waiting; the reactor would spin. It goes on at a turn a
/// millisecond, until they wait again.
struct WaitFailures {
    /// Turns in a row that may pass at full speed.
    static let limit = 8
    /// The pause before each turn after them, in nanoseconds.
    static let pause: UInt64 = 1_000_000

    private var turns = 0
    private var hasFailed = false

    /// Notes the result of a timer, poll or other wait that has failed. A timer's end and a cancellation are none.
    mutating func note(_ result: Int32) {
        let error = Errno(rawValue: 0 &- result)
        if error != .timerExpired, error != .canceled { hasFailed = true }
    }

    /// Ends a turn in which something has completed.
    ///
    /// - Returns: how long to pause before the next one, in nanoseconds.
    mutating func endTurn() -> UInt64 {
        turns = hasFailed ? turns + 1 : 0
        hasFailed = false
        return turns > Self.limit ? Self.pause : 0
    }
}
