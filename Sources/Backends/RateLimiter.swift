/// Lets a steady number of requests a second through: a token bucket on the monotonic clock, in exact arithmetic.
///
/// Over time the average is the rate, neither more nor less: the time at which the next token is due advances by
/// exactly one interval for each request, fractions of a nanosecond included. Tokens that nobody takes are kept for
/// up to 50 ms, so that a late timer costs nothing and an idle disk gives no large burst.
package struct RateLimiter: Sendable {
    /// Requests a second.
    package let rate: UInt32
    // One interval is `whole` nanoseconds and `part` / `rate` of one.
    private let whole: UInt64
    private let part: UInt64
    private let savings: UInt64
    // When the next token is due: `due` nanoseconds and `duePart` / `rate` of one.
    private var due: UInt64 = 0
    private var duePart: UInt64 = 0

    private static let second: UInt64 = 1_000_000_000
    private static let savingTime: UInt64 = 50_000_000

    /// A limiter of `rate` requests a second; nil for 0, which is no limit.
    package init?(rate: UInt32) {
        guard rate > 0 else { return nil }
        self.rate = rate
        whole = Self.second / UInt64(rate)
        part = Self.second % UInt64(rate)
        // A token must be due for itself, and so the saving time counts those before it.
        savings = Self.savingTime > whole ? Self.savingTime - whole : 0
    }

    /// Takes the token for one request at `now`, in nanoseconds of the monotonic clock.
    ///
    /// - Returns: nil if the request may go; otherwise when to ask again.
    package mutating func take(at now: UInt64) -> UInt64? {
        if let wait = wait(at: now) { return wait }
        spend()
        return nil
    }

    /// Whether a token is there, without taking it: nil if so, otherwise when to ask again.
    package mutating func wait(at now: UInt64) -> UInt64? {
        let earliest = now > savings ? now - savings : 0
        if due < earliest {
            due = earliest
            duePart = 0
        }
        let ready = due &+ (duePart > 0 ? 1 : 0)
        return now >= ready ? nil : ready
    }

    /// Takes a token that `wait` has found.
    package mutating func spend() {
        due &+= whole
        duePart += part
        if duePart >= rate {
            duePart -= UInt64(rate)
            due &+= 1
        }
    }
}
