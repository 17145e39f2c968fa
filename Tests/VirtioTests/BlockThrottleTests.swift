import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Limits of disks in real time: a driver that always has requests waiting gets as many a second as the limit says.
@Suite struct BlockThrottleTests {
    @Test(arguments: [(200, 2), (10_000, 3)] as [(UInt32, UInt64)])
    func theAverageIsTheLimit(rate: UInt32, seconds: UInt64) throws {
        var free = try Load(limit: 0)
        var possible = try free.rate(after: 300_000_000)
        var limited = try Load(limit: rate)
        // Of a host that can hardly do so much anyway, no more can be asked.
        var least: Double { min(Double(rate), possible / 2) * 0.98 }
        // A thread that did not get to run just before the end has yet to catch up, which more time shows; a limit that
        // is too low stays so.
        var average = 0.0
        for round in 1...5 as ClosedRange<UInt64> where average < least {
            // What idle time has saved is not part of the average.
            try limited.skip(Int(rate) / 20 + 1)
            average = try limited.rate(after: round * seconds * 1_000_000_000)
            // The host may have got busier.
            try free.skip(0)
            possible = min(possible, try free.rate(after: 300_000_000))
        }
        #expect(average >= least && average <= Double(rate) * 1.02, "possible: \(possible)")
    }
}

/// A disk with requests waiting all the time.
private struct Load {
    private let disk: BlockDisk
    private var count = 0
    private var started: UInt64

    init(limit: UInt32) throws {
        disk = try BlockDisk(inMemory: true) { $0.iopsLimit = limit }
        started = Clock.monotonic
        let (queue, driver) = (disk.queue, disk.driver)
        let header = try driver.allocate(16)
        try driver.memory.write(BlockDisk.header(BlockDisk.Kind.read), at: header)
        let data = try driver.allocate(512)
        let status = try driver.allocate(1)
        for request in 0..<64 as Range<UInt16> {
            queue.setChain(
                [.init(header, 16), .init(data, 512, isWritable: true), .init(status, 1, isWritable: true)],
                head: 3 * request)
            queue.offer(3 * request)
        }
        queue.publish()
        queue.kickIfWanted()
    }

    /// Begins to count anew, after so many requests.
    mutating func skip(_ wanted: Int) throws {
        count = 0
        while count < wanted { count += try exchange() }
        count -= wanted
        started = Clock.monotonic
    }

    /// How many requests a second were carried out on average, when at least so many nanoseconds have passed.
    mutating func rate(after time: UInt64) throws -> Double {
        while Clock.monotonic - started < time { count += try exchange() }
        return Double(count) / Double(Clock.monotonic - started) * 1e9
    }

    /// Offers again what has been used; answers how much that was.
    private func exchange() throws -> Int {
        let queue = disk.queue
        try disk.driver.wait { queue.usedCount > 0 }
        var count = 0
        while let used = queue.takeUsed() {
            queue.offer(UInt16(truncatingIfNeeded: used.head))
            count += 1
        }
        queue.publish()
        queue.kickIfWanted()
        return count
    }
}
