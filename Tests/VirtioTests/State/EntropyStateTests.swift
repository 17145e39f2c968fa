import Backends
import Host
import TestSupport
import Testing
import Virtio

/// The state of an entropy device as a value: a fresh one continues with its limit and its request.
@Suite struct EntropyStateTests {
    @Test func aFreshDeviceServesTheRequestUnderWay() throws {
        let fifo = try FIFO()
        let rig = try EntropyRig(fifo.path)
        let writer = try fifo.writer()
        let buffer = try rig.offer(64)
        rig.driver.settle()
        #expect(rig.queue.usedCount == 0)
        let fresh = EntropyDevice(id: "fresh", source: try RandomSource(path: "/dev/urandom"))
        try rig.driver.pause()
        try fresh.restore(rig.device.deviceState)
        try rig.driver.exchangeDevice(fresh)
        #expect(try rig.used() == DriverQueue.Used(head: 0, written: 64))
        #expect(!buffer.isZero)
        _ = writer
    }

    @Test func theLimitContinues() throws {
        let limit = EntropyDevice.Limit(bytes: 64, milliseconds: 3_600_000)
        let rig = try EntropyRig("/dev/urandom", limit: limit)
        _ = try rig.offer(64)
        #expect(try rig.used()?.written == 64)
        guard case .entropy(let limiter?) = rig.device.deviceState else {
            Issue.record("no limiter was saved")
            return
        }
        #expect(limiter.due > 0)
        let fresh = EntropyDevice(id: "fresh", source: try RandomSource(path: "/dev/urandom"), limit: limit)
        try fresh.restore(rig.device.deviceState)
        try rig.driver.exchangeDevice(fresh)
        _ = try rig.offer(1)
        rig.driver.settle()
        #expect(rig.queue.usedCount == 0)
    }

    @Test func aHostileStateIsBounded() throws {
        let fresh = EntropyDevice(
            id: "fresh", source: try RandomSource(path: "/dev/urandom"),
            limit: EntropyDevice.Limit(bytes: 1000, milliseconds: 1000))
        try fresh.restore(
            .entropy(RateLimiter.State(due: .max, duePart: .max, isAwaited: true, sinceWait: .max)))
        guard case .entropy(let limiter?) = fresh.deviceState else {
            Issue.record("no limiter was saved")
            return
        }
        // No more than the interval of one byte.
        #expect(limiter.due <= 1_000_001)
        #expect(throws: StateError.self) { try fresh.restore(.none) }
    }
}
