/// A token bucket on the monotonic clock: lets a steady number of tokens (requests, bytes) through.
///
/// The average is exactly the rate: the time at which the next token is due advances by one interval for each token,
/// fractions of a nanosecond included. Unused tokens are kept for a short time only, so an idle user gets no large
/// burst. Tokens that a user waits for are kept longer: a late timer, or a thread that does not run, costs nothing.
package struct RateLimiter: Sendable {
    // One interval is `whole` nanoseconds and `part` / `divisor` of one.
    private let whole: UInt64
    private let part: UInt64
    private let divisor: UInt64
    private let savings: UInt64
    /// Whether the user was told to wait.
    private var isAwaited = false
    /// The time at which a waiting user last came back: tokens that were due by then are kept.
    private var awaitedUntil: UInt64 = 0
    // The next token is due at `due` nanoseconds and `duePart` / `divisor` of one.
    private var due: UInt64 = 0
    private var duePart: UInt64 = 0

    private static let second: UInt64 = 1_000_000_000
    /// How long tokens are kept that a user waits for, in nanoseconds.
    private static let lateness = second

    /// A limiter of `rate` requests a second, which keeps the tokens of the last 50 ms; nil for 0, which is no limit.
    package init?(rate: UInt32) {
        self.init(tokens: UInt64(rate), in: Self.second, keeping: 50_000_000)
    }

    /// A limiter of `bytes` in each `milliseconds`, all of which may come at once; nil if one is 0.
    ///
    /// Numbers beyond 32 bits are rounded to that precision.
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
        // The token that is due counts too, so the saving time covers those before it.
        savings = savingTime > whole ? savingTime - whole : 0
    }

    /// Takes the token for one request at `now`, in nanoseconds of the monotonic clock.
    ///
    /// - Returns: nil if the request may proceed; otherwise when to ask again.
    package mutating func take(at now: UInt64) -> UInt64? {
        if let wait = wait(at: now) { return wait }
        spend()
        return nil
    }

    /// Checks for `count` tokens without taking them: nil if there are enough, otherwise when to ask again.
    ///
    /// - Parameter count: 1 to 65536, and no more than the limiter keeps.
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

    /// The time at which the token is due that comes `count` tokens after the next one.
    private func after(_ count: UInt32) -> (due: UInt64, part: UInt64) {
        // The products stay below 2^64: `part` is less than 2^32, and so many intervals are no more than 2^32 seconds.
        let parts = duePart &+ part &* UInt64(count)
        return (due &+ whole &* UInt64(count) &+ parts / divisor, parts % divisor)
    }
}

// MARK: Saving

extension RateLimiter {
    /// The limiter's tokens, without its rate. Times are relative, so another host's clock can take over.
    package struct State: Equatable, Sendable {
        /// Nanoseconds until the next token is due; below zero while tokens are unused.
        package var due: Int64
        /// The fraction of a nanosecond beyond `due`, in units that depend on the rate.
        package var duePart: UInt64
        /// Whether the user was told to wait.
        package var isAwaited: Bool
        /// Nanoseconds since a waiting user last came back.
        package var sinceWait: UInt64

        package init(due: Int64, duePart: UInt64, isAwaited: Bool, sinceWait: UInt64) {
            self.due = due
            self.duePart = duePart
            self.isAwaited = isAwaited
            self.sinceWait = sinceWait
        }
    }

    /// Nanoseconds of unused tokens that can matter.
    private var mostKept: UInt64 { max(savings, Self.lateness) }

    /// The state at `now`, in nanoseconds of the monotonic clock.
    package func state(at now: UInt64) -> State {
        State(
            due: due > now ? Int64(clamping: due - now) : -Int64(clamping: min(now - due, mostKept)),
            duePart: duePart, isAwaited: isAwaited,
            sinceWait: min(now - min(now, awaitedUntil), savings + 1))
    }

    /// Continues from a state that a limiter of any rate had, as far as this one can have it: the next token is due
    /// after one interval at the latest.
    package mutating func restore(_ state: State, at now: UInt64) {
        due =
            state.due < 0
            ? now - min(now, state.due.magnitude, mostKept) : now &+ min(state.due.magnitude, whole + 1)
        duePart = state.duePart < divisor ? state.duePart : 0
        isAwaited = state.isAwaited
        awaitedUntil = now - min(now, state.sinceWait)
    }
}
