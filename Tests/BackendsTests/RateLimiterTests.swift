import Backends
import Testing

@Suite struct RateLimiterTests {
    private static let second: UInt64 = 1_000_000_000

    /// How many requests pass in `[start, start + seconds)` if one is always waiting.
    private static func passed(_ limiter: inout RateLimiter, from start: UInt64, seconds: UInt64) -> Int {
        var now = start
        var count = 0
        while now < start + seconds * second {
            if let wait = limiter.take(at: now) { now = wait } else { count += 1 }
        }
        return count
    }

    @Test(arguments: [1, 3, 7, 200, 9_999, 10_000, 1_000_000] as [UInt32])
    func theAverageIsTheRate(rate: UInt32) throws {
        var limiter = try #require(RateLimiter(rate: rate))
        let count = Self.passed(&limiter, from: 12_345_678_901_234, seconds: 10)
        #expect(abs(Double(count) - 10 * Double(rate)) <= 0.02 * 10 * Double(rate))
    }

    @Test func oneASecondIsOneASecond() throws {
        var limiter = try #require(RateLimiter(rate: 1))
        let start = 5 * Self.second
        #expect(limiter.take(at: start) == nil)
        #expect(limiter.take(at: start) == start + Self.second)
        #expect(limiter.take(at: start + Self.second - 1) == start + Self.second)
        #expect(limiter.take(at: start + Self.second) == nil)
    }

    @Test(arguments: [3, 7, 333_333, 999_999] as [UInt32]) func fractionsDoNotDrift(rate: UInt32) throws {
        var limiter = try #require(RateLimiter(rate: rate))
        let start = Self.second
        while limiter.take(at: start) == nil {}
        // From an empty bucket, an hour gives an hour's worth.
        var now = start
        var count: UInt64 = 0
        let wanted = min(UInt64(rate) * 3600, 1_000_000)
        while count < wanted {
            if let wait = limiter.take(at: now) { now = wait } else { count += 1 }
        }
        let ideal = Double(wanted) / Double(rate) * 1e9
        #expect(abs(Double(now - start) - ideal) <= 1e9 / Double(rate) + 1)
    }

    @Test(arguments: [1, 19, 20, 200, 10_000] as [UInt32]) func idlenessSavesAtMostFiftyMilliseconds(rate: UInt32)
        throws
    {
        var limiter = try #require(RateLimiter(rate: rate))
        _ = limiter.take(at: Self.second)
        let later = 3600 * Self.second
        var burst = 0
        while limiter.take(at: later) == nil { burst += 1 }
        #expect(burst == max(1, Int(rate) / 20))
    }

    @Test func aLateTimerCostsNothing() throws {
        var limiter = try #require(RateLimiter(rate: 1000))
        var now = Self.second
        while limiter.take(at: now) == nil {}
        var count = 0
        for _ in 0..<1000 {
            // Ten milliseconds late each time.
            now += 10_000_000
            while limiter.take(at: now) == nil { count += 1 }
        }
        #expect(count == 10_000)
    }

    @Test func waitingTakesNothing() throws {
        var limiter = try #require(RateLimiter(rate: 1))
        for _ in 0..<10 { #expect(limiter.wait(at: Self.second) == nil) }
        limiter.spend()
        #expect(limiter.wait(at: Self.second) == 2 * Self.second)
    }

    @Test func zeroIsNoLimit() {
        #expect(RateLimiter(rate: 0) == nil)
    }
}
