import Backends
import EventLoop
import Host
import Memory
import Synchronization
import TestSupport
import Testing
import Virtio

@Suite struct BlockDeviceTests {
    private typealias Kind = BlockDisk.Kind

    @Test func configurationSaysWhatTheDiskIs() throws {
        let disk = try BlockDisk(size: (1 << 20) + 100) {
            $0.discards = true
            $0.zeroDetection = .unmap
            $0.queues = 3
            $0.queueSize = 128
        }
        let driver = disk.driver
        #expect(driver.readConfig(UInt64.self, at: 0) == 2048)
        #expect(driver.readConfig(UInt32.self, at: 12) == 126)
        #expect(driver.readConfig(UInt32.self, at: 20) == 512)
        #expect(512 << UInt64(driver.readConfig(UInt8.self, at: 24)) == UInt64(disk.image.limits.physicalBlockSize))
        #expect(driver.readConfig(UInt16.self, at: 26) == UInt16(disk.image.limits.physicalBlockSize / 512))
        #expect(driver.readConfig(UInt16.self, at: 34) == 3)
        #expect(driver.readConfig(UInt32.self, at: 36) == 0x7fffff)
        #expect(driver.readConfig(UInt32.self, at: 40) == 8)
        #expect(driver.readConfig(UInt32.self, at: 44) == 1)
        #expect(driver.readConfig(UInt32.self, at: 48) == 0x7fffff)
        #expect(driver.readConfig(UInt32.self, at: 52) == 8)
        #expect(driver.readConfig(UInt8.self, at: 56) == 1)
    }

    @Test func featuresFollowTheOptions() throws {
        let always: Features = [
            .splitRing, .version1, .blockSegmentMaximum, .blockSize, .blockTopology, .blockFlush,
        ]
        #expect(try BlockDisk().driver.offeredFeatures == always)
        #expect(try BlockDisk { $0.queues = 2 }.driver.offeredFeatures == always.union(.blockMultiqueue))
        #expect(try BlockDisk { $0.discards = true }.driver.offeredFeatures == always.union(.blockDiscard))
        #expect(
            try BlockDisk { $0.zeroDetection = .keep }.driver.offeredFeatures == always.union(.blockWriteZeroes))
        let readOnly = try BlockDisk(readOnly: true) {
            $0.discards = true
            $0.zeroDetection = .unmap
        }
        #expect(readOnly.driver.offeredFeatures == always.union(.blockReadOnly))
    }

    @Test(arguments: [false, true]) func readsBackWhatWasWritten(direct: Bool) throws {
        let disk = try BlockDisk(direct: direct)
        var random = RandomBytes(seed: 3)
        let data = random.bytes(8192)
        let write = try disk.request(Kind.write, 7, data)
        #expect(write.status == 0)
        #expect(write.written == 1)
        #expect(try disk.request(Kind.flush).status == 0)
        let read = try disk.request(Kind.read, 7, count: 8192)
        #expect(read.status == 0)
        #expect(read.written == 8193)
        #expect(read.bytes == data)
        #expect(try Array(disk.file.contents()[7 * 512..<7 * 512 + 8192]) == data)
        #expect(try disk.request(Kind.read, 9, []).status == 0)
    }

    @Test(arguments: [Features.version1, [.version1, .ringEventIndex], [.version1, .ringIndirectDescriptors]])
    func buffersMayBeSplitInAnyWay(features: Features) throws {
        let disk = try BlockDisk(features: features)
        var random = RandomBytes(seed: 4)
        let data = random.bytes(1024)
        let header = BlockDisk.header(Kind.write, 5)
        let isIndirect = features.contains(.ringIndirectDescriptors)
        // Header in pieces, the last together with the first data.
        let readable: [[UInt8]] = [
            Array(header[0..<3]), Array(header[3..<4]), Array(header[4..<15]), Array(header[15...] + data[0..<1]),
            Array(data[1..<700]), Array(data[700...]),
        ]
        let write = try disk.driver.exchange(
            on: disk.queue, readable: readable, writable: [1], isIndirect: isIndirect)
        #expect(write.bytes == [0])
        // The status is the last byte, wherever it lies.
        let read = try disk.driver.exchange(
            on: disk.queue, readable: [BlockDisk.header(Kind.read, 5)], writable: [1, 510, 514],
            isIndirect: isIndirect)
        #expect(read.bytes == data + [0])
        #expect(read.written == 1025)
    }

    @Test(arguments: ["", "disk-1", "exactly-twenty-bytes", "more-than-twenty-bytes-long"])
    func answersItsSerialNumber(serial: String) throws {
        let disk = try BlockDisk { $0.serial = serial }
        let wanted = Array((Array(serial.utf8) + [UInt8](repeating: 0, count: 20)).prefix(20))
        let reply = try disk.request(Kind.getID, count: 20)
        #expect(reply.status == 0)
        #expect(reply.bytes == wanted)
        #expect(reply.written == 21)
        // Shorter and longer buffers are none of a driver's that keeps the rules, and do no harm.
        let short = try disk.request(Kind.getID, count: 5)
        #expect(short.status == 0 && short.bytes == Array(wanted.prefix(5)))
        let long = try disk.request(Kind.getID, count: 64)
        #expect(long.status == 0 && long.bytes == wanted + [UInt8](repeating: 0xee, count: 44))
    }

    @Test func discardsAndZeroesInSeveralRanges() throws {
        let disk = try BlockDisk {
            $0.discards = true
            $0.zeroDetection = .unmap
        }
        try disk.file.write([UInt8](repeating: 0xff, count: 1 << 20))
        let zero = BlockDisk.range(8, 8) + BlockDisk.range(24, 8, flags: 1) + BlockDisk.range(0, 0)
        #expect(try disk.request(Kind.writeZeroes, 0, zero).status == 0)
        #expect(
            try disk.request(Kind.discard, 0, BlockDisk.range(1024, 512) + BlockDisk.range(1536, 512)).status == 0)
        let contents = try disk.file.contents()
        for (block, isZero) in [(0, false), (1, true), (2, false), (3, true), (4, false)] {
            #expect(contents[block * 4096..<block * 4096 + 4096].allSatisfy { $0 == (isZero ? 0 : 0xff) })
        }
        #expect(try disk.file.allocatedBytes() <= 520 << 10)
        #expect(disk.device.statistics.unmaps == 2)
    }

    /// The test plays the kernel: a real completion that comes later finds nobody waiting.
    @Test(arguments: [true, false]) func withoutFlushesAWriteEndsWhenItIsSafe(hasFlush: Bool) throws {
        let disk = try BlockDisk(isStarted: false)
        let features = disk.driver.offeredFeatures
        disk.queues = try disk.driver.start(hasFlush ? features : features.subtracting(.blockFlush))
        try offerWrite(disk)
        disk.device.operationCompleted(tag: 0, result: 512)
        #expect(disk.device.isIdle == hasFlush)
        if !hasFlush {
            disk.device.operationCompleted(tag: 0, result: 0)
            #expect(disk.device.isIdle)
        }
        try disk.driver.wait { disk.queue.usedCount == 1 && disk.device.operationsInFlight == 0 }
        // And for real.
        _ = disk.queue.takeUsed()
        #expect(try disk.request(Kind.write, 3, [UInt8](repeating: 7, count: 512)).status == 0)
        #expect(try disk.file.contents()[3 * 512] == 7)
    }

    @Test(arguments: [Errno.ioError, .noSpace, .noMemory]) func hostErrorsEndTheRequestOnly(error: Errno) throws {
        let disk = try BlockDisk()
        let status = try offerWrite(disk)
        disk.device.operationCompleted(tag: 0, result: -error.rawValue)
        try disk.driver.wait { disk.queue.usedCount == 1 && disk.device.operationsInFlight == 0 }
        #expect(disk.queue.takeUsed() == DriverQueue.Used(head: 0, written: 1))
        #expect(try disk.driver.memory.load(at: status, as: UInt8.self) == 1)
        #expect(disk.device.statistics.failures == 1)
        #expect(disk.device.statistics.failedWrites == 1)
        #expect(try disk.request(Kind.read, count: 512).status == 0)
        #expect(!disk.driver.status.contains(.deviceNeedsReset))
    }

    /// Offers a write of one sector and lets the device take it; answers where its status will be.
    @discardableResult
    private func offerWrite(_ disk: BlockDisk) throws -> GuestAddress {
        let header = try disk.driver.allocate(16)
        try disk.driver.memory.write(BlockDisk.header(Kind.write, 1), at: header)
        let data = try disk.driver.allocate(512)
        let status = try disk.driver.allocate(1)
        disk.queue.setChain([
            DriverQueue.Buffer(header, 16), DriverQueue.Buffer(data, 512),
            DriverQueue.Buffer(status, 1, isWritable: true),
        ])
        disk.queue.submit(0)
        while disk.device.isIdle { disk.driver.reactor.turn(waiting: true) }
        return status
    }

    @Test(arguments: [false, true]) func aTruncatedImageIsAnErrorAndNoMore(direct: Bool) throws {
        let disk = try BlockDisk(direct: direct)
        try disk.file.truncate(to: 64 << 10)
        #expect(try disk.request(Kind.read, 0, count: 4096).status == 0)
        #expect(try disk.request(Kind.read, 1024, count: 4096).status == 1)
        #expect(try disk.request(Kind.read, 120, count: 8192).status == 1)
        #expect(try disk.request(Kind.read, 0, count: 4096).status == 0)
        #expect(disk.device.statistics.reads == 2)
        #expect(disk.device.statistics.failures == 2)
    }

    @Test func tellsOfHostErrorsOnceASecond() throws {
        let told = Mutex<[BlockDevice.Failure]>([])
        let disk = try BlockDisk { $0.onFailure = { failure in told.withLock { $0.append(failure) } } }
        #expect(try disk.request(Kind.read, 1 << 40, count: 512).status == 1)
        #expect(told.withLock { $0 }.isEmpty)
        try disk.file.truncate(to: 64 << 10)
        for _ in 0..<3 { #expect(try disk.request(Kind.read, 1024, count: 4096).status == 1) }
        let count = told.withLock { $0.count }
        #expect(count == 1 || count == 2)
        #expect(told.withLock { $0.first?.isRead } == true)
        #expect(told.withLock { $0.first?.error } == .ioError)
    }

    @Test func theDriverLearnsOfANewSize() throws {
        let disk = try BlockDisk()
        _ = disk.driver.takeInterrupts()
        let generation = disk.driver.read(.configGeneration)
        #expect(try disk.request(Kind.read, 2048, count: 512).status == 1)
        try disk.file.truncate(to: 2 << 20)
        try disk.device.imageResized()
        #expect(disk.driver.takeInterrupts().causes.contains(.configurationChange))
        #expect(disk.driver.read(.configGeneration) != generation)
        #expect(disk.driver.readConfig(UInt64.self, at: 0) == 4096)
        #expect(try disk.request(Kind.read, 2048, count: 512).status == 0)
    }

    @Test func countsWhatItDoes() throws {
        let disk = try BlockDisk()
        _ = try disk.request(Kind.write, 0, [UInt8](repeating: 1, count: 1024))
        _ = try disk.request(Kind.read, 0, count: 512)
        _ = try disk.request(Kind.read, 0, count: 1536)
        _ = try disk.request(Kind.flush)
        _ = try disk.request(Kind.read, 1 << 40, count: 512)
        _ = try disk.request(Kind.getID, count: 20)
        let statistics = disk.device.statistics
        #expect(statistics.writes == 1 && statistics.bytesWritten == 1024)
        #expect(statistics.reads == 2 && statistics.bytesRead == 2048)
        #expect(statistics.flushes == 1 && statistics.unmaps == 0)
        #expect(statistics.failures == 1 && statistics.invalid == 1)
        let counters = disk.device.counters.filter { $0.value != 0 }
        #expect(
            counters == [
                DeviceCounter("rd_operations", 2), DeviceCounter("wr_operations", 1),
                DeviceCounter("flush_operations", 1), DeviceCounter("rd_bytes", 2048, isBytes: true),
                DeviceCounter("wr_bytes", 1024, isBytes: true), DeviceCounter("invalid_operations", 1),
            ])
    }
}
