/// How often a reactor tries a failed `io_uring_enter` again, and after which pauses.
///
/// The first tries follow at once: a signal, or completions to take, need no more. The pauses after them double, since
/// memory that is short takes time to come back. All take less than a second.
struct EnterRetries {
    /// Failures in a row after which a ring is lost.
    static let limit = 24
    private static let withoutPause = 8
    private static let firstPause: UInt64 = 1_000_000
    private static let longestPause: UInt64 = 64_000_000

    /// Failures since the last success.
    private(set) var failures = 0

    /// Notes one more failure.
    ///
    /// - Returns: how long to pause before the next try, in nanoseconds; nil if there is to be none.
    mutating func next() -> UInt64? {
        failures += 1
        guard failures < Self.limit else { return nil }
        guard failures > Self.withoutPause else { return 0 }
        return min(Self.firstPause << UInt64(failures - Self.withoutPause - 1), Self.longestPause)
    }

    /// Notes a success, or a completion: the kernel makes progress.
    mutating func reset() {
        failures = 0
    }
}
