import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite struct EntropyDeviceTests {
    @Test func fillsBuffersWithRandomBytes() throws {
        let rig = try EntropyRig("/dev/urandom")
        let first = try rig.driver.exchange(on: rig.queue, writable: [64])
        let second = try rig.driver.exchange(on: rig.queue, writable: [64])
        #expect(first.written == 64 && second.written == 64)
        #expect(first.bytes != second.bytes)
        #expect(first.bytes.count { $0 == 0xee } < 16)
    }

    @Test(arguments: [true, false]) func fillsBuffersInPieces(isIndirect: Bool) throws {
        let rig = try EntropyRig("/dev/urandom")
        let sizes = [1, 63, 4096, 7, 100]
        let reply = try rig.driver.exchange(on: rig.queue, writable: sizes, isIndirect: isIndirect)
        #expect(reply.written == UInt32(sizes.reduce(0, +)))
        #expect(reply.bytes.count { $0 == 0xee } < 100)
    }

    @Test func ofManyBytesGivesAPart() throws {
        let rig = try EntropyRig("/dev/urandom")
        let reply = try rig.driver.exchange(on: rig.queue, writable: [65535, 1 << 20])
        #expect(reply.written == 65536)
        #expect(reply.bytes[65536...].allSatisfy { $0 == 0xee })
    }

    /// Limits: 256 bytes in 50 ms; ten portions, of which the first is there at once, take nine periods.
    @Test func keepsToItsLimit() throws {
        let rig = try EntropyRig("/dev/urandom", limit: .init(bytes: 256, milliseconds: 50))
        let started = Clock.monotonic
        for _ in 0..<10 {
            let reply = try rig.driver.exchange(on: rig.queue, writable: [4096])
            #expect(reply.written == 256)
            #expect(reply.bytes[256...].allSatisfy { $0 == 0xee })
        }
        #expect(Clock.monotonic - started >= 450_000_000)
    }

    @Test func whatIsGivenCountsAndNotWhatWasAskedFor() throws {
        let fifo = try FIFO()
        let rig = try EntropyRig(fifo.path, limit: .init(bytes: 1000, milliseconds: 1_000))
        let writer = try fifo.writer()
        try writer.write([UInt8](repeating: 7, count: 900))
        #expect(try rig.driver.exchange(on: rig.queue, writable: [1000]).written == 900)
        let started = Clock.monotonic
        try writer.write([UInt8](repeating: 8, count: 1000))
        // 100 bytes are left of the first period, and come without a pause; a thousand would take 0.9 s.
        #expect(try rig.driver.exchange(on: rig.queue, writable: [100]).written == 100)
        #expect(Clock.monotonic - started < 900_000_000)
    }

    @Test func aSlowSourceHoldsUpNothing() throws {
        let fifo = try FIFO()
        let rig = try EntropyRig(fifo.path)
        let buffer = try rig.offer(64)
        rig.driver.settle()
        #expect(rig.queue.usedCount == 0)
        #expect(rig.device.isIdle)
        // A pause is not held up either, and while it lasts nothing is read.
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        #expect(isPaused)
        let writer = try fifo.writer()
        try writer.write([1, 2, 3])
        rig.driver.settle()
        #expect(rig.queue.usedCount == 0 && buffer.isZero)
        rig.driver.virtio.resume()
        #expect(try rig.used() == .init(head: 0, written: 3))
        #expect(buffer.prefix(4).bytes == [1, 2, 3, 0])
        let more = try rig.offer(2)
        try writer.write([4, 5, 6])
        #expect(try rig.used() == .init(head: 0, written: 2))
        #expect(more.bytes == [4, 5])
    }

    @Test func aSourceThatEndsMayComeBack() throws {
        let fifo = try FIFO()
        let rig = try EntropyRig(fifo.path)
        let first = try rig.offer(8)
        do {
            let writer = try fifo.writer()
            try writer.write([1])
        }
        #expect(try rig.used() == .init(head: 0, written: 1))
        #expect(first.byte(at: 0) == 1)
        let second = try rig.offer(8)
        for _ in 0..<20 { rig.driver.reactor.turn(waiting: false) }
        #expect(rig.queue.usedCount == 0)
        let writer = try fifo.writer()
        try writer.write([2, 3])
        #expect(try rig.used() == .init(head: 0, written: 2))
        #expect(second.prefix(2).bytes == [2, 3])
    }

    @Test func aRegularFileIsGivenOutOnce() throws {
        let file = try TemporaryFile(size: 0)
        try file.write([9, 8, 7, 6, 5])
        let rig = try EntropyRig(file.path)
        #expect(try rig.driver.exchange(on: rig.queue, writable: [3]).bytes == [9, 8, 7])
        #expect(try rig.driver.exchange(on: rig.queue, writable: [3]).written == 2)
        let last = try rig.offer(4)
        rig.driver.settle()
        #expect(rig.queue.usedCount == 0 && last.isZero)
        // What is added later is given, too.
        try file.write([4, 3], at: 5)
        #expect(try rig.used() == .init(head: 0, written: 2))
        #expect(last.bytes == [4, 3, 0, 0])
    }

    /// `/dev/null` is at its end from the beginning.
    @Test func aSourceWithoutBytesGivesNone() throws {
        let rig = try EntropyRig("/dev/null")
        _ = try rig.offer(64)
        rig.driver.settle()
        #expect(rig.queue.usedCount == 0)
        try rig.restart()
        try rig.driver.retire()
    }
}
