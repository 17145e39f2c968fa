/// Lets a steady number of tokens (requests, bytes) through in a time: a token bucket on the monotonic clock, in exact
/// arithmetic.
///
/// Over time the average is the rate, neither more nor less: the time at which the next token is due advances by
/// exactly one interval for each token, fractions of a nanosecond included. Tokens that nobody wants are kept for a
/// short while only, so that a user that was idle gives no large burst. Those that somebody waits for are kept longer:
/// a timer that is late, or a thread that does not get to run, costs nothing.
package struct RateLimiter: Sendable {
    // One interval is `whole` nanoseconds and `part` / `divisor` of one.
    private let whole: UInt64
    private let part: UInt64
    private let divisor: UInt64
    private let savings: UInt64
    /// Whether somebody was told to wait.
    private var isAwaited = false
    /// When somebody who had been told to wait came back last: the tokens due until then are not given up.
    private var awaitedUntil: UInt64 = 0
    // When the next token is due: `due` nanoseconds and `duePart` / `divisor` of one.
    private var due: UInt64 = 0
    private var duePart: UInt64 = 0

    private static let second: UInt64 = 1_000_000_000
    /// For how long tokens are kept that somebody waits for.
    private static let lateness = second

    /// A limiter of `rate` requests a second, which keeps those of the last 50 ms; nil for 0, which is no limit.
    package init?(rate: UInt32) {
        self.init(tokens: UInt64(rate), in: Self.second, keeping: 50_000_000)
    }

    /// A limiter of `bytes` in each `milliseconds`, all of which may come at once; nil if one is 0.
    ///
    /// Beyond 4 GiB the numbers are rounded to 32 bits.
    package init?(bytes: UInt64, milliseconds: UInt64) {
        var (bytes, milliseconds) = (bytes, milliseconds)
        while max(bytes, milliseconds) > UInt64(UInt32.max) {
            bytes >>= 1
            milliseconds >>= 1
        }
        self.init(tokens: bytes, in: milliseconds * 1_000_000, keeping: milliseconds * 1_000_000)
    }

    /// - Parameters:
    ///   - tokens: below 2^32.
    ///   - time: in nanoseconds; `savingTime` too.
    private init?(tokens: UInt64, in time: UInt64, keeping savingTime: UInt64) {
        guard tokens > 0, time > 0 else { return nil }
        whole = time / tokens
        part = time % tokens
        divisor = tokens
        // A token must be due for itself, and so the saving time counts those before it.
        savings = savingTime > whole ? savingTime - whole : 0
    }

    /// Takes the token for one request at `now`, in nanoseconds of the monotonic clock.
    ///
    /// - Returns: nil if the request may go; otherwise when to ask again.
    package mutating func take(at now: UInt64) -> UInt64? {
        if let wait = wait(at: now) { return wait }
        spend()
        return nil
    }

    /// Whether `count` tokens are there, without taking them: nil if so, otherwise when to ask again.
    ///
    /// - Parameter count: 1 to 65536, and no more than can be kept.
    package mutating func wait(for count: UInt32 = 1, at now: UInt64) -> UInt64? {
        if isAwaited { awaitedUntil = now }
        let isLate = due < awaitedUntil && now &- awaitedUntil <= savings
        let kept = isLate ? max(savings, Self.lateness) : savings
        let earliest = now > kept ? now - kept : 0
        if due < earliest {
            due = earliest
            duePart = 0
        }
        let last = after(count > 0 ? count - 1 : 0)
        let ready = last.due &+ (last.part > 0 ? 1 : 0)
        isAwaited = now < ready
        return isAwaited ? ready : nil
    }

    /// Takes tokens that `wait` has found.
    package mutating func spend(_ count: UInt32 = 1) {
        (due, duePart) = after(count)
    }

    /// When the token is due that comes `count` tokens after the next one.
    private func after(_ count: UInt32) -> (due: UInt64, part: UInt64) {
        // The products stay below 2^64: `part` is less than 2^32, and so many intervals are no more than 2^32 seconds.
        let parts = duePart &+ part &* UInt64(count)
        return (due &+ whole &* UInt64(count) &+ parts / divisor, parts % divisor)
    }
}
