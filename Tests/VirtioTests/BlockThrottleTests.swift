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
        let disk = try BlockDisk(inMemory: true) { $0.iopsLimit = rate }
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
        // What idle time has saved is not part of the average.
        var saved = Int(rate) / 20 + 1
        while saved > 0 { saved -= try exchange(queue, driver) }
        let started = Clock.monotonic
        var count = -saved
        func average(after time: UInt64) throws -> Double {
            while Clock.monotonic - started < time { count += try exchange(queue, driver) }
            return Double(count) / Double(Clock.monotonic - started) * 1e9 / Double(rate)
        }
        // A thread that did not get to run just before the end has yet to catch up, which more time shows; a limit that
        // is too low stays so.
        var ratio = 0.0
        for round in 1...5 as ClosedRange<UInt64> where ratio < 0.98 {
            ratio = try average(after: round * seconds * 1_000_000_000)
        }
        #expect(abs(ratio - 1) <= 0.02)
    }

    /// Offers again what has been used; answers how much that was.
    private func exchange(_ queue: DriverQueue, _ driver: VirtioDriver) throws -> Int {
        try driver.wait { queue.usedCount > 0 }
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
