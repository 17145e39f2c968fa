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

    /// A thread that does not run for a while, with requests waiting, makes up for it; after an hour it does not.
    @Test func lostTimeIsMadeUpForUpToASecond() throws {
        var limiter = try #require(RateLimiter(rate: 1000))
        var now = Self.second
        while limiter.take(at: now) == nil {}
        var count = 0
        for _ in 0..<20 {
            now += Self.second / 2
            while limiter.take(at: now) == nil { count += 1 }
        }
        #expect(count == 10_000)
        now += 3600 * Self.second
        while limiter.take(at: now) == nil { count += 1 }
        #expect(count == 11_001)
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

/// Bytes in periods, as a source of entropy has them.
@Suite struct ByteLimiterTests {
    private static let second: UInt64 = 1_000_000_000

    /// How many bytes pass in `seconds` from `start` if so many are always wanted at once.
    private static func passed(
        _ limiter: inout RateLimiter, _ wanted: UInt32, from start: UInt64, seconds: UInt64
    ) -> UInt64 {
        var now = start
        var count: UInt64 = 0
        while now < start + seconds * second {
            if let wait = limiter.wait(for: wanted, at: now) {
                now = wait
            } else {
                limiter.spend(wanted)
                count += UInt64(wanted)
            }
        }
        return count
    }

    @Test(
        arguments: [
            (64, 1000), (1234, 1000), (1234, 7), (1, 1), (1_000_000, 1), (1_000_000_000, 1000), (65, 1001),
        ] as [(UInt64, UInt64)])
    func theAverageIsTheRate(bytes: UInt64, milliseconds: UInt64) throws {
        var limiter = try #require(RateLimiter(bytes: bytes, milliseconds: milliseconds))
        let wanted = UInt32(min(bytes, 65536))
        let seconds: UInt64 = 100
        let count = Self.passed(&limiter, wanted, from: 99 * Self.second, seconds: seconds)
        // What one period saves may come on top, and a last portion may be short of its time.
        let ideal = Double(bytes) / Double(milliseconds) * 1000 * Double(seconds)
        #expect(Double(count) <= ideal + Double(bytes))
        #expect(Double(count) >= ideal - Double(wanted))
    }

    @Test func aWholePeriodMayComeAtOnceAndNoMore() throws {
        var limiter = try #require(RateLimiter(bytes: 1000, milliseconds: 500))
        let now = 50 * Self.second
        #expect(limiter.wait(for: 1000, at: now) == nil)
        limiter.spend(1000)
        #expect(limiter.wait(for: 1, at: now) == now + 500_000)
        #expect(limiter.wait(for: 1000, at: now) == now + 500_000_000)
        #expect(limiter.wait(for: 1000, at: now + 499_999_999) == now + 500_000_000)
        #expect(limiter.wait(for: 1000, at: now + 500_000_000) == nil)
    }

    @Test(
        arguments: [
            (UInt64.max / 1000, UInt64.max / 1_000_000_000), (UInt64.max / 1000, 280_000_000_000_000), (1, 1),
            (UInt64(UInt32.max), UInt64(UInt32.max)), (UInt64(UInt32.max) + 1, 1 << 33),
        ] as [(UInt64, UInt64)])
    func extremesDoNotTrap(bytes: UInt64, milliseconds: UInt64) throws {
        var limiter = try #require(RateLimiter(bytes: bytes, milliseconds: milliseconds))
        for now in [0, 1, Self.second, UInt64.max] {
            _ = limiter.wait(for: 65536, at: now)
            limiter.spend(65536)
        }
    }

    @Test func zeroIsNoLimit() {
        #expect(RateLimiter(bytes: 0, milliseconds: 1) == nil)
        #expect(RateLimiter(bytes: 1, milliseconds: 0) == nil)
    }
}

// MARK: Saving

extension RateLimiterTests {
    /// The times at which a user who always waits gets its tokens, from `start` on and relative to it.
    private static func grants(_ limiter: inout RateLimiter, from start: UInt64, count: Int) -> [UInt64] {
        var now = start
        var times: [UInt64] = []
        while times.count < count {
            if let wait = limiter.take(at: now) { now = wait } else { times.append(now - start) }
        }
        return times
    }

    @Test(arguments: [1, 3, 7, 200, 333_333] as [UInt32]) func aSavedLimiterContinuesOnAnotherClock(rate: UInt32) throws
    {
        var source = try #require(RateLimiter(rate: rate))
        let start = 7_654_321 * Self.second
        let now = start + (Self.grants(&source, from: start, count: 5).last ?? 0)
        for moment in [now, now + 10_000_000, now + 3600 * Self.second] {
            let state = source.state(at: moment)
            for clock in [moment, 5 * Self.second, 1_000_000_000 * Self.second] {
                var copy = try #require(RateLimiter(rate: rate))
                copy.restore(state, at: clock)
                #expect(copy.state(at: clock) == state)
                var original = source
                #expect(
                    Self.grants(&copy, from: clock, count: 40) == Self.grants(&original, from: moment, count: 40))
            }
        }
    }

    @Test(arguments: [1, 1000, .max] as [UInt32]) func aHostileStateDelaysNoMoreThanOneInterval(rate: UInt32) throws {
        for due in [Int64.min, -1, 0, 1, .max] {
            for number in [0, 1, UInt64.max] {
                for now in [0, Self.second, UInt64.max / 2] {
                    var limiter = try #require(RateLimiter(rate: rate))
                    limiter.restore(
                        RateLimiter.State(due: due, duePart: number, isAwaited: number == 0, sinceWait: number), at: now
                    )
                    let interval = Self.second / UInt64(rate) + 2
                    #expect(limiter.take(at: now).map { $0 <= now + interval } ?? true)
                    var burst = 0
                    while burst <= 2 * Int(rate), burst < 5000, limiter.take(at: now) == nil { burst += 1 }
                    #expect(burst <= Int(rate) + 1)
                }
            }
        }
    }

    @Test func aByteLimiterKeepsItsDebt() throws {
        var source = try #require(RateLimiter(bytes: 1000, milliseconds: 1000))
        let now = 100 * Self.second
        #expect(source.wait(for: 1000, at: now) == nil)
        source.spend(1000)
        let state = source.state(at: now)
        var copy = try #require(RateLimiter(bytes: 1000, milliseconds: 1000))
        copy.restore(state, at: 3 * Self.second)
        #expect(source.wait(for: 500, at: now) == now + Self.second / 2)
        #expect(copy.wait(for: 500, at: 3 * Self.second) == 3 * Self.second + Self.second / 2)
    }
}
