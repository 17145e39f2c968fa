import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Many requests at once, and what stands in their way: limits, pauses, removal.
@Suite struct BlockLoadTests {
    private typealias Kind = BlockDisk.Kind

    /// A request that is on its way, and what must come of it.
    private struct Pending {
        var kind: UInt32
        var at: Int
        var count: Int
        var pieces: [HostSlice]
        var status: HostSlice
    }

    struct Setting: CustomTestStringConvertible, Sendable {
        var direct: Bool
        var minimumAlignment = 512
        var features: Features?
        var seed: UInt64
        var testDescription: String { "direct \(direct), blocks of \(minimumAlignment), seed \(seed)" }
    }

    @Test(arguments: [
        Setting(direct: false, seed: 1), Setting(direct: true, seed: 2),
        Setting(direct: true, minimumAlignment: 4096, seed: 3),
        Setting(direct: true, minimumAlignment: 4096, features: .version1, seed: 4),
        Setting(direct: false, features: [.version1, .blockFlush, .ringEventIndex], seed: 5),
    ])
    func mixedRequestsLeaveWhatAModelSays(setting: Setting) throws {
        let size = 4 << 20
        let disk = try BlockDisk(
            size: UInt64(size), direct: setting.direct, minimumAlignment: setting.minimumAlignment, memory: 24 << 20,
            features: setting.features
        ) {
            $0.discards = true
            $0.zeroDetection = .unmap
        }
        var random = RandomBytes(seed: setting.seed)
        let model = IOBuffer(capacity: size)
        let (queue, driver) = (disk.queue, disk.driver)
        // Each of 32 requests has memory for itself.
        let arena = try (0..<32).map { _ in try driver.allocate((256 << 10) + 8192, alignment: 4096) }
        let canZero = setting.features == nil
        for _ in 0..<30 {
            var pending: [Pending] = []
            // Requests of one round do not overlap, but share blocks: their order must not matter.
            var at = 512 * random.below(64)
            while pending.count < 32 {
                let count = 512 * (1 + random.below(pending.count % 8 == 0 ? 512 : 24))
                guard at + count <= size else { break }
                pending.append(
                    try offer(
                        canZero && random.below(8) == 0
                            ? Kind.writeZeroes : random.below(2) == 0 ? Kind.read : Kind.write,
                        at, count, arena[pending.count], 8 * pending.count, queue, driver, model, &random))
                at += count + (random.below(4) == 0 ? 512 * random.below(200) : 0)
            }
            queue.publish()
            queue.kickIfWanted()
            try driver.wait { queue.usedCount == pending.count }
            while queue.takeUsed() != nil {}
            for request in pending {
                #expect(request.status.byte(at: 0) == 0)
                guard request.kind == Kind.read else { continue }
                var offset = request.at
                for piece in request.pieces {
                    let isSame = model.all.slice(at: offset, count: piece.count)?.bytes == piece.bytes
                    #expect(isSame, "\(piece.count) bytes at \(offset)")
                    offset += piece.count
                }
            }
        }
        #expect(try disk.request(Kind.flush).status == 0)
        let isSame = try disk.file.contents() == model.all.bytes
        #expect(isSame)
    }

    /// Lays a request of up to 6 pieces of memory, aligned or not, into descriptors from `head` on.
    private func offer(
        _ kind: UInt32, _ at: Int, _ count: Int, _ memory: GuestAddress, _ head: Int, _ queue: DriverQueue,
        _ driver: VirtioDriver, _ model: IOBuffer, _ random: inout RandomBytes
    ) throws -> Pending {
        let all = try driver.memory.slice(at: memory, count: (256 << 10) + 8192)
        let sector = UInt64(at / 512)
        var buffers = [DriverQueue.Buffer(memory, 16)]
        all.copy(from: BlockDisk.header(kind, kind == Kind.writeZeroes ? 0 : sector))
        var pieces: [HostSlice] = []
        if kind == Kind.writeZeroes {
            all.dropFirst(64).copy(
                from: BlockDisk.range(sector, UInt32(count / 512), flags: UInt32(random.below(2))))
            buffers.append(DriverQueue.Buffer(GuestAddress(memory.rawValue + 64), 16))
            model.all.slice(at: at, count: count)?.fill(0)
        } else {
            var start = 4096 + (random.below(3) == 0 ? 0 : random.below(100))
            var left = count
            while left > 0 {
                let length = pieces.count == 4 ? left : min(left, 1 + random.below(count))
                pieces.append(try #require(all.slice(at: start, count: length)))
                buffers.append(
                    DriverQueue.Buffer(
                        GuestAddress(memory.rawValue + UInt64(start)), UInt32(length), isWritable: kind == Kind.read))
                start += length
                left -= length
            }
            if kind == Kind.write {
                let bytes = random.below(6) == 0 ? [UInt8](repeating: 0, count: count) : random.bytes(count)
                model.all.dropFirst(at).copy(from: bytes)
                all.dropFirst(4096 + (start - 4096 - count)).prefix(count).copy(from: bytes)
            }
        }
        buffers.append(DriverQueue.Buffer(GuestAddress(memory.rawValue + 128), 1, isWritable: true))
        let status = try #require(all.slice(at: 128, count: 1))
        status.fill(0xff)
        queue.setChain(buffers, head: UInt16(head))
        queue.offer(UInt16(head))
        return Pending(kind: kind, at: at, count: count, pieces: pieces, status: status)
    }

    /// Offers `count` reads of one sector, which all share their memory, but not their descriptors.
    private func offerReads(_ count: Int, on queue: DriverQueue, _ driver: VirtioDriver) throws {
        let memory = try driver.allocate(1024)
        try driver.memory.write(BlockDisk.header(Kind.read, 1), at: memory)
        let buffers = [
            DriverQueue.Buffer(memory, 16),
            DriverQueue.Buffer(GuestAddress(memory.rawValue + 16), 513, isWritable: true),
        ]
        for index in 0..<count {
            queue.setChain(buffers, head: UInt16(2 * index))
            queue.offer(UInt16(2 * index))
        }
        queue.publish()
        queue.kickIfWanted()
    }

    @Test func everyQueueIsServedEvenWhenSlotsAreFew() throws {
        let disk = try BlockDisk {
            $0.queues = 8
            $0.queueSize = 256
        }
        for queue in disk.queues { try offerReads(128, on: queue, disk.driver) }
        try disk.driver.wait { disk.queues.allSatisfy { $0.usedCount == 128 } }
        #expect(disk.device.statistics.reads == 1024)
        #expect(disk.device.isIdle)
    }

    @Test func requestsAreLimited() throws {
        let disk = try BlockDisk { $0.iopsLimit = 200 }
        let start = Clock.monotonic
        try offerReads(60, on: disk.queue, disk.driver)
        try disk.driver.wait { disk.queue.usedCount >= 1 }
        disk.driver.settle()
        // 50 milliseconds' worth at once, unless this machine was busy for long, and then one after the other.
        let atOnce = disk.queue.usedCount
        let soFar = Clock.monotonic - start
        #expect(atOnce <= 10 + Int(soFar / 5_000_000) + 1)
        try disk.driver.wait { disk.queue.usedCount == 60 }
        #expect(Clock.monotonic - start >= 240_000_000)
    }

    @Test func aLimitedDiskSleepsWhileItWaits() throws {
        let disk = try BlockDisk { $0.iopsLimit = 1 }
        try offerReads(3, on: disk.queue, disk.driver)
        try disk.driver.wait { disk.queue.usedCount == 1 }
        disk.driver.settle()
        // Nothing but the timer is under way, and nothing turns the device round and round.
        #expect(disk.device.operationsInFlight == 1)
        #expect(disk.device.isIdle)
        // A reset does not wait for the timer.
        disk.driver.write(.status, 0)
        #expect(disk.driver.read(.status) == 0)
        try disk.driver.wait { disk.device.operationsInFlight == 0 }
        disk.queues = try disk.driver.start()
        try offerReads(1, on: disk.queue, disk.driver)
        try disk.driver.wait { disk.queue.usedCount == 1 }
    }

    @Test(arguments: [0, 200] as [UInt32]) func aPauseWaitsForWhatIsInFlightAndNothingElse(limit: UInt32) throws {
        let disk = try BlockDisk(direct: true) { $0.iopsLimit = limit }
        try offerReads(100, on: disk.queue, disk.driver)
        disk.driver.reactor.turn(waiting: true)
        var isPaused = false
        disk.driver.virtio.pause { isPaused = true }
        try disk.driver.wait { isPaused }
        let done = disk.queue.usedCount
        #expect(disk.device.isIdle)
        disk.queue.kick()
        disk.driver.settle()
        #expect(disk.queue.usedCount == done)
        disk.driver.virtio.resume()
        try disk.driver.wait { disk.queue.usedCount == 100 }
    }

    @Test(arguments: [0, 1] as [UInt32]) func aDiskCanBeRemovedUnderLoad(limit: UInt32) throws {
        weak var device: BlockDevice?
        do {
            let disk = try BlockDisk(direct: true) { $0.iopsLimit = limit }
            device = disk.device
            try offerReads(100, on: disk.queue, disk.driver)
            disk.driver.reactor.turn(waiting: true)
            disk.driver.reactor.turn(waiting: true)
            try disk.driver.retire()
            #expect(disk.device.operationsInFlight == 0)
        }
        #expect(device == nil)
    }
}
