import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver that means harm, or is broken, may ask of a disk: each ends with an answer, and the disk goes on.
@Suite struct BlockHostileTests {
    private typealias Kind = BlockDisk.Kind

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var readable: [[UInt8]]
        var writable: [Int] = [1]
        /// The status, or nil where there is no room for one.
        var status: UInt8?
        var isReadOnly = false
        /// Negotiates no more than the ring needs.
        var isPlain = false
    }

    private static func header(_ kind: UInt32, _ sector: UInt64 = 0) -> [UInt8] { BlockDisk.header(kind, sector) }
    private static let data = [UInt8](repeating: 0x77, count: 512)
    private static func range(_ sector: UInt64, _ sectors: UInt32, _ flags: UInt32 = 0) -> [UInt8] {
        BlockDisk.range(sector, sectors, flags: flags)
    }

    /// The disk has 2048 sectors.
    static let cases: [Case] = [
        Case(testDescription: "first sector past the end", readable: [header(0, 2048)], writable: [512, 1], status: 1),
        Case(testDescription: "last sector and one more", readable: [header(0, 2047)], writable: [1024, 1], status: 1),
        Case(testDescription: "last sector", readable: [header(0, 2047)], writable: [512, 1], status: 0),
        Case(testDescription: "nothing, at the end", readable: [header(0, 2048)], status: 0),
        Case(testDescription: "nothing, past the end", readable: [header(0, 2049)], status: 1),
        Case(
            testDescription: "sector times 512 wraps to 0", readable: [header(0, 1 << 55)], writable: [512, 1],
            status: 1),
        Case(testDescription: "largest sector", readable: [header(0, .max)], writable: [512, 1], status: 1),
        Case(testDescription: "sector plus count wraps", readable: [header(0, .max)], writable: [1024, 1], status: 1),
        Case(testDescription: "write at the largest sector", readable: [header(1, .max), data], status: 1),
        Case(testDescription: "write past the end", readable: [header(1, 2048), data], status: 1),
        Case(testDescription: "read of 511 bytes", readable: [header(0)], writable: [511, 1], status: 1),
        Case(testDescription: "read of 513 bytes", readable: [header(0)], writable: [513, 1], status: 1),
        Case(testDescription: "write of 1 byte", readable: [header(1), [1]], status: 1),
        Case(testDescription: "write of 513 bytes", readable: [header(1), data + [1]], status: 1),
        Case(testDescription: "unknown type", readable: [header(2)], writable: [512, 1], status: 2),
        Case(testDescription: "SCSI command", readable: [header(2), data], status: 2),
        Case(testDescription: "GET_LIFETIME", readable: [header(10)], writable: [48, 1], status: 2),
        Case(testDescription: "secure erase", readable: [header(14), range(0, 1)], status: 2),
        Case(testDescription: "zone report", readable: [header(16)], writable: [512, 1], status: 2),
        Case(testDescription: "largest type", readable: [header(.max)], status: 2),
        Case(testDescription: "no header", readable: [], status: 1),
        Case(
            testDescription: "header of 15 bytes", readable: [Array(header(0).dropLast())], writable: [512, 1],
            status: 1),
        Case(testDescription: "no status", readable: [header(0)], writable: [], status: nil),
        Case(testDescription: "write without status", readable: [header(1), data], writable: [], status: nil),
        Case(testDescription: "read of data it gives itself", readable: [header(0), data], status: 0),
        Case(testDescription: "write of data to be written", readable: [header(1)], writable: [512, 1], status: 0),
        Case(testDescription: "serial number without room", readable: [header(8)], status: 0),
        Case(testDescription: "serial number in 3 bytes", readable: [header(8)], writable: [3, 1], status: 0),
        Case(
            testDescription: "flush with data and sector", readable: [header(4, 99), data], writable: [512, 1],
            status: 0),
        Case(testDescription: "flush without the feature", readable: [header(4)], status: 0, isPlain: true),
        Case(
            testDescription: "discard without the feature", readable: [header(11), range(0, 1)], status: 2,
            isPlain: true),
        Case(
            testDescription: "zeroes without the feature", readable: [header(13), range(0, 1)], status: 2, isPlain: true
        ),
        Case(testDescription: "write to read-only", readable: [header(1), data], status: 1, isReadOnly: true),
        Case(testDescription: "empty write to read-only", readable: [header(1)], status: 1, isReadOnly: true),
        Case(
            testDescription: "discard on read-only", readable: [header(11), range(0, 1)], status: 2, isReadOnly: true),
        Case(testDescription: "zeroes on read-only", readable: [header(13), range(0, 1)], status: 2, isReadOnly: true),
        Case(testDescription: "flush of read-only", readable: [header(4)], status: 0, isReadOnly: true),
        Case(testDescription: "discard without ranges", readable: [header(11)], status: 1),
        Case(
            testDescription: "discard of half a range", readable: [header(11), Array(range(0, 1).prefix(8))], status: 1),
        Case(testDescription: "discard of a range and a byte", readable: [header(11), range(0, 1) + [0]], status: 1),
        Case(
            testDescription: "discard of 9 ranges", readable: [header(11), (0..<9).flatMap { range($0, 1) }], status: 1),
        Case(
            testDescription: "discard of 8 ranges", readable: [header(11), (0..<8).flatMap { range($0, 1) }], status: 0),
        Case(testDescription: "discard of count 0", readable: [header(11), range(0, 0)], status: 0),
        Case(testDescription: "discard of too many", readable: [header(11), range(0, 0x80_0000)], status: 1),
        Case(testDescription: "discard past the end", readable: [header(11), range(2047, 2)], status: 1),
        Case(testDescription: "discard that wraps", readable: [header(11), range(.max, 2)], status: 1),
        Case(testDescription: "discard with unmap", readable: [header(11), range(0, 1, 1)], status: 2),
        Case(testDescription: "discard with unknown flags", readable: [header(11), range(0, 1, 1 << 31)], status: 2),
        Case(testDescription: "zeroes of count 0", readable: [header(13), range(0, 0)], status: 0),
        Case(testDescription: "zeroes of too many", readable: [header(13), range(0, .max)], status: 1),
        Case(testDescription: "zeroes past the end", readable: [header(13), range(2048, 1)], status: 1),
        Case(testDescription: "zeroes that wrap", readable: [header(13), range(1 << 55, 1)], status: 1),
        Case(testDescription: "zeroes with unmap", readable: [header(13), range(0, 8, 1)], status: 0),
        Case(testDescription: "zeroes with unknown flags", readable: [header(13), range(0, 1, 2)], status: 2),
        Case(
            testDescription: "a sound range, then one past the end",
            readable: [header(13), range(0, 2048) + range(2048, 1)], status: 1),
    ]

    @Test(arguments: cases) func endsWithAnAnswer(_ hostile: Case) throws {
        let disk = try BlockDisk(readOnly: hostile.isReadOnly, features: hostile.isPlain ? .version1 : nil) {
            $0.discards = true
            $0.zeroDetection = .keep
        }
        let untouched = [UInt8](repeating: 0x55, count: 1 << 20)
        try disk.file.write(untouched)
        if hostile.readable.isEmpty, hostile.writable.isEmpty { return }
        let reply = try disk.driver.exchange(on: disk.queue, readable: hostile.readable, writable: hostile.writable)
        #expect(reply.bytes.last == hostile.status)
        #expect(reply.written <= UInt32(hostile.writable.reduce(0, +)))
        if hostile.status != 0 {
            let isUntouched = try disk.file.contents() == untouched
            #expect(isUntouched)
            #expect(reply.bytes.dropLast().allSatisfy { $0 == 0xee })
        }
        // Whatever it was, the disk still works.
        #expect(!disk.driver.status.contains(.deviceNeedsReset))
        #expect(try disk.request(Kind.read, 2000, count: 512).status == 0)
        #expect(disk.device.isIdle)
    }

    /// Reads of 4 KiB with heads 0, 3, 6...; the buffers hold 0xee before.
    private func offerReads(_ disk: BlockDisk, _ count: Int) throws -> [GuestAddress] {
        let header = try disk.driver.allocate(16)
        try disk.driver.memory.write(BlockDisk.header(Kind.read, 8), at: header)
        return try (0..<count).map { index in
            let data = try disk.driver.allocate(4096)
            try disk.driver.memory.slice(at: data, count: 4096).fill(0xee)
            let status = try disk.driver.allocate(1)
            disk.queue.setChain(
                [
                    DriverQueue.Buffer(header, 16), DriverQueue.Buffer(data, 4096, isWritable: true),
                    DriverQueue.Buffer(status, 1, isWritable: true),
                ], head: UInt16(3 * index))
            disk.queue.offer(UInt16(3 * index))
            return data
        }
    }

    @Test(arguments: [false, true], [0, 1, 2, 3]) func aResetWaitsForWhatIsInFlight(direct: Bool, turns: Int) throws {
        let disk = try BlockDisk(direct: direct, memory: 16 << 20)
        for _ in 0..<20 {
            let mark = try offerReads(disk, 60)
            disk.queue.publish()
            disk.queue.kick()
            for _ in 0..<turns { disk.driver.reactor.turn(waiting: false) }
            disk.driver.write(.status, 0)
            try disk.driver.wait { disk.driver.read(.status) == 0 }
            #expect(disk.device.isIdle)
            #expect(disk.device.operationsInFlight == 0)
            // From here on the memory is the driver's again.
            for data in mark { try disk.driver.memory.slice(at: data, count: 4096).fill(0x11) }
            disk.driver.settle()
            for data in mark { #expect(try disk.driver.memory.slice(at: data, count: 4096).byte(at: 4095) == 0x11) }
            disk.queues = try disk.driver.start()
            #expect(try disk.request(Kind.read, 0, count: 512).status == 0)
        }
    }

    @Test func aHeadThatIsInFlightStopsTheDeviceUntilAReset() throws {
        let disk = try BlockDisk()
        _ = try offerReads(disk, 2)
        disk.queue.offer(0)
        disk.queue.publish()
        disk.queue.kick()
        try disk.driver.wait { disk.driver.status.contains(.deviceNeedsReset) }
        try disk.driver.wait { disk.device.isIdle }
        disk.driver.write(.status, 0)
        try disk.driver.wait { disk.driver.read(.status) == 0 }
        disk.queues = try disk.driver.start()
        #expect(try disk.request(Kind.read, 0, count: 512).status == 0)
    }

    /// After a start that failed, the next one finds a disk that works, and not one whose requests were all cancelled.
    @Test func aStartThatFailsLeavesNothingBehind() throws {
        let disk = try BlockDisk()
        #expect(try disk.request(Kind.read, 0, count: 512).status == 0)
        for _ in 0..<3 {
            disk.driver.write(.status, 0)
            try disk.driver.negotiate()
            disk.driver.write(.queueSel, 0)
            disk.driver.write(.queueNum, 3)
            disk.driver.write(.queueReady, 1)
            disk.driver.addStatus(.driverOK)
            try disk.driver.wait { disk.driver.status.contains(.deviceNeedsReset) }
            disk.driver.write(.status, 0)
            try disk.driver.wait { disk.driver.read(.status) == 0 }
            disk.queues = try disk.driver.start()
            #expect(try disk.request(Kind.read, 0, count: 512).status == 0)
        }
    }

    @Test func anImageThatLooksLikeAnotherFormatIsStillRaw() throws {
        let disk = try BlockDisk()
        let magic: [UInt8] = [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]
        #expect(try disk.request(Kind.write, 0, magic + [UInt8](repeating: 0, count: 504)).status == 0)
        let again = BlockDevice(
            id: "again", image: try .open(path: disk.file.path, readOnly: true, direct: false))
        #expect(again.readConfig(at: 0, size: 8) == 2048)
        #expect(try disk.request(Kind.read, 0, count: 512).bytes.prefix(8) == magic[...])
    }
}
