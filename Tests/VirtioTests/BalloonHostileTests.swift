import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver that means harm, or is broken, may tell a balloon: case 29 of the list of hostile inputs. Each request
/// ends, frees the pages that it names and no other, and the balloon goes on.
@Suite struct BalloonHostileTests {
    private typealias Rig = BalloonRig

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var readable: [[UInt8]]
        var writable: [Int] = []
        /// The pages that are free afterwards, in rising order.
        var freed: [UInt32] = []
    }

    private static func numbers(_ pages: UInt32...) -> [UInt8] { Rig.numbers(pages) }

    static let cases = [
        Case(testDescription: "one page", readable: [numbers(300)], freed: [300]),
        Case(testDescription: "upwards", readable: [numbers(300, 301, 302)], freed: [300, 301, 302]),
        Case(testDescription: "downwards", readable: [numbers(302, 301, 300)], freed: [300, 301, 302]),
        Case(
            testDescription: "any order", readable: [numbers(400, 300, 402, 301, 401, 299)],
            freed: [299, 300, 301, 400, 401, 402]),
        Case(
            testDescription: "duplicates", readable: [numbers(300, 300, 301, 300, 500, 301, 500)],
            freed: [300, 301, 500]),
        Case(testDescription: "no request at all", readable: []),
        Case(testDescription: "without pages", readable: [[]]),
        Case(testDescription: "one byte", readable: [[44]]),
        Case(testDescription: "three bytes", readable: [[44, 1, 0]]),
        Case(testDescription: "a page and three bytes", readable: [numbers(300) + [1, 2, 3]], freed: [300]),
        Case(
            testDescription: "a number in two buffers", readable: [[0x2c], [1, 0], [0] + numbers(310)],
            freed: [300, 310]),
        Case(testDescription: "the hole", readable: [numbers(Rig.hole, 300, Rig.hole + 1)], freed: [300]),
        Case(testDescription: "the end of memory", readable: [numbers(Rig.end, Rig.end - 1)], freed: [Rig.end - 1]),
        Case(testDescription: "just below a region", readable: [numbers(Rig.high - 1, Rig.high)], freed: [Rig.high]),
        Case(testDescription: "the largest number", readable: [numbers(.max, 300, .max)], freed: [300]),
        Case(
            testDescription: "from one region into the next", readable: [numbers(Rig.border - 1, Rig.border)],
            freed: [Rig.border - 1, Rig.border]),
        Case(
            testDescription: "and back", readable: [numbers(Rig.border + 1, Rig.border, Rig.border - 1)],
            freed: [Rig.border - 1, Rig.border, Rig.border + 1]),
        Case(
            testDescription: "into the hole", readable: [numbers(Rig.hole - 1, Rig.hole, Rig.hole + 1)],
            freed: [Rig.hole - 1]),
        Case(
            testDescription: "all of a region twice over",
            readable: [Rig.numbers(Array(Rig.high..<Rig.end)), Rig.numbers(Array((Rig.high..<Rig.end).reversed()))],
            freed: Array(Rig.high..<Rig.end)),
        Case(
            testDescription: "more pages than the memory has",
            readable: [Rig.numbers(Array(256..<10_000))], freed: Array(256..<Rig.hole)),
        Case(
            testDescription: "more pages than are read of one request",
            readable: [Rig.numbers([UInt32](repeating: 300, count: 1 << 14) + [301])], freed: [300]),
        Case(testDescription: "where the device writes", readable: [], writable: [4096]),
        Case(testDescription: "with room to write", readable: [numbers(300)], writable: [16], freed: [300]),
    ]

    @Test(arguments: cases) func freesWhatItNamesAndGoesOn(_ hostile: Case) throws {
        let rig = try Rig()
        rig.fill()
        if !hostile.readable.isEmpty || !hostile.writable.isEmpty {
            let reply = try rig.driver.exchange(
                on: rig.inflate, readable: hostile.readable, writable: hostile.writable)
            #expect(reply.written == 0)
            #expect(reply.bytes.allSatisfy { $0 == 0xee })
        }
        #expect(rig.freedPages() == hostile.freed)
        // The same told as taken back frees nothing.
        rig.fill()
        if !hostile.readable.isEmpty {
            _ = try rig.driver.exchange(on: rig.deflate, readable: hostile.readable)
            #expect(rig.freedPages().isEmpty)
        }
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
        try rig.inflate([700])
        #expect(rig.freedPages() == [700])
        #expect(rig.device.isIdle)
    }

    @Test func reportsOfAnyShapeFreeWholePages() throws {
        let rig = try Rig()
        rig.fill()
        let base = UInt64(300) << 12
        let buffers: [(UInt64, UInt32)] = [
            (base, 4095), (base + 1, 4096), (base + 4097, 8190), (base + 0x10001, 8192), (base + 0x20000, 1),
            (base + 0x30fff, 4098), (UInt64(Rig.hole - 1) << 12, 4096),
        ]
        rig.reporting.setChain(buffers.map { .init(GuestAddress($0.0), $0.1, isWritable: true) })
        rig.reporting.submit(0)
        try rig.driver.wait { rig.reporting.usedCount == 1 }
        #expect(rig.freedPages() == [300 + 0x11, 300 + 0x31, Rig.hole - 1])
    }

    @Test func aReportThatTheDeviceShouldReadFreesNothing() throws {
        let rig = try Rig()
        rig.fill()
        rig.reporting.setChain([.init(GuestAddress(300 << 12), 4096)])
        rig.reporting.submit(0)
        try rig.driver.wait { rig.reporting.usedCount == 1 }
        #expect(rig.freedPages().isEmpty)
    }

    /// The driver gives up the memory that its own rings are in: it loses them, and nobody else anything.
    @Test func givingUpItsOwnRingsStopsTheDeviceUntilAReset() throws {
        let rig = try Rig()
        let rings = Array(0..<256 as Range<UInt32>)
        try rig.offer(Rig.numbers(rings), on: rig.inflate)
        try rig.driver.wait { rig.driver.status.contains(.deviceNeedsReset) }
        try rig.restart()
        rig.fill()
        try rig.inflate([300])
        #expect(rig.freedPages() == [300])
    }

    @Test(arguments: [0, 1, 2, 3, 5, 8], [false, true])
    func aResetWaitsForWhatIsInFlight(turns: Int, shared: Bool) throws {
        let rig = try Rig(shared: shared)
        for _ in 0..<20 {
            // Every other page: nothing can be put together.
            try rig.offer(Rig.numbers(Array(stride(from: 300, to: 1900, by: 2))), on: rig.inflate)
            rig.reporting.setChain([.init(GuestAddress(UInt64(Rig.high) << 12), 1 << 20, isWritable: true)])
            rig.reporting.submit(0)
            for _ in 0..<turns { rig.driver.reactor.turn(waiting: false) }
            rig.driver.write(.status, 0)
            try rig.driver.wait { rig.driver.read(.status) == 0 }
            #expect(rig.device.isIdle && rig.device.operationsInFlight == 0)
            // From here on the memory is the driver's again.
            rig.fill()
            rig.driver.settle()
            #expect(rig.freedPages().isEmpty)
            try rig.restart()
        }
        try rig.inflate([300])
        #expect(rig.freedPages() == [300])
    }

    @Test(arguments: [0, 1, 2, 3]) func aPauseEndsWhatIsUnderWayAndBeginsNothing(turns: Int) throws {
        let rig = try Rig()
        rig.fill()
        let pages = Array(stride(from: 300, to: 812, by: 2) as StrideTo<UInt32>)
        try rig.offer(Rig.numbers(pages), on: rig.inflate)
        for _ in 0..<turns { rig.driver.reactor.turn(waiting: false) }
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        try rig.driver.wait { isPaused }
        let freed = rig.freedPages()
        #expect(freed.isEmpty || freed == pages)
        try rig.offer(Rig.numbers([900]), on: rig.inflate, head: 1)
        rig.driver.settle()
        #expect(rig.freedPages() == freed)
        rig.driver.virtio.resume()
        try rig.driver.wait { rig.inflate.usedCount == 2 }
        #expect(rig.freedPages() == pages + [900])
    }

    @Test(arguments: [0, 1, 2, 3]) func removalWaitsForWhatIsInFlight(turns: Int) throws {
        let rig = try Rig()
        try rig.offer(Rig.entries([(0, 1)]), on: rig.statistics)
        rig.driver.settle()
        var answers = 0
        rig.device.refreshStatistics { answers += 1 }
        try rig.offer(Rig.numbers(Array(stride(from: 300, to: 1900, by: 2))), on: rig.inflate)
        for _ in 0..<turns { rig.driver.reactor.turn(waiting: false) }
        try rig.driver.retire()
        #expect(rig.device.operationsInFlight == 0)
        #expect(answers == 1)
    }

    /// A disk reads into memory that is given up meanwhile: both requests end, whatever the memory then holds.
    @Test(arguments: [false, true]) func memoryUnderIOMayBeGivenUp(shared: Bool) throws {
        let rig = try Rig(shared: shared)
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: true)
        let disk = try VirtioDriver(
            BlockDevice(id: "disk0", image: .raw(image)), memory: rig.memory, reactor: rig.driver.reactor, base: 0x80000
        )
        let queue = try disk.start()[0]
        let header = try disk.allocate(16)
        let status = try disk.allocate(1)
        let mark = rig.driver.nextFree
        for _ in 0..<20 {
            try rig.memory.write(BlockDisk.header(BlockDisk.Kind.read), at: header)
            queue.setChain([
                .init(header, 16), .init(GuestAddress(300 << 12), 1 << 20, isWritable: true),
                .init(status, 1, isWritable: true),
            ])
            queue.submit(0)
            try rig.offer(Rig.numbers(Array(300..<556)), on: rig.inflate)
            try rig.driver.wait { queue.usedCount == 1 && rig.inflate.usedCount == 1 }
            #expect(queue.takeUsed() == .init(head: 0, written: (1 << 20) + 1))
            #expect(rig.inflate.takeUsed() == .init(head: 0, written: 0))
            rig.driver.nextFree = mark
        }
    }

    // MARK: Configuration

    @Test func onlyTheAccountOfPagesCanBeWritten() throws {
        let rig = try Rig()
        rig.device.setTarget(5)
        for offset in 0..<16 as Range<UInt64> where offset != 4 { rig.driver.writeConfig(UInt32.max, at: offset) }
        rig.driver.writeConfig(UInt8.max, at: 4)
        rig.driver.writeConfig(UInt16.max, at: 4)
        rig.driver.writeConfig(UInt64.max, at: 4)
        #expect(rig.device.givenUp == 0)
        #expect(rig.driver.readConfig(UInt32.self, at: 0) == 5)
        rig.driver.writeConfig(UInt32.max, at: 4)
        #expect(rig.device.givenUp == .max, "more than there is; whoever uses the figure knows how much there is")
        #expect(rig.driver.readConfig(UInt64.self, at: 8) == 0)
    }

    // MARK: Statistics

    struct Statistics: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var buffers: [[UInt8]]
        /// The values of the items that are known.
        var values: [UInt64] = []
    }

    static let statistics = [
        Statistics(testDescription: "nothing", buffers: [[]]),
        Statistics(testDescription: "9 bytes", buffers: [[UInt8](repeating: 0, count: 9)]),
        Statistics(
            testDescription: "one and 9 bytes", buffers: [Rig.entries([(0, 7)]) + [UInt8](repeating: 1, count: 9)],
            values: [7]),
        Statistics(testDescription: "unknown ones", buffers: [Rig.entries([(16, 1), (.max, 2), (5, 3)])], values: [3]),
        Statistics(testDescription: "one twice", buffers: [Rig.entries([(5, 1), (5, .max)])], values: [.max]),
        Statistics(
            testDescription: "byte by byte", buffers: Rig.entries([(0, 1), (1, 2)]).map { [$0] }, values: [1, 2]),
        Statistics(
            testDescription: "thousands",
            buffers: [Rig.entries([(UInt16, UInt64)](repeating: (0, 9), count: 3000) + [(1, 1)])], values: [9]),
    ]

    @Test(arguments: statistics) func takesWhatIsSound(_ hostile: Statistics) throws {
        let rig = try Rig()
        var buffers: [DriverQueue.Buffer] = []
        for bytes in hostile.buffers {
            let address = try rig.driver.allocate(bytes.count)
            try rig.memory.write(bytes, at: address)
            buffers.append(.init(address, UInt32(bytes.count)))
        }
        rig.statistics.setChain(buffers)
        rig.statistics.submit(0)
        rig.driver.settle()
        #expect(rig.device.lastStatistics?.values.reported.map(\.value) == hostile.values)
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
    }

    @Test func ofManyRequestsForStatisticsOneIsKept() throws {
        let rig = try Rig()
        let address = try rig.driver.allocate(16)
        try rig.memory.write(Rig.entries([(0, 1)]), at: address)
        for head in 0..<64 as Range<UInt16> {
            rig.statistics.setChain([.init(address, 10)], head: head)
            rig.statistics.offer(head)
        }
        rig.statistics.publish()
        rig.statistics.kick()
        rig.driver.settle()
        #expect(rig.statistics.usedCount == 0)
        for count in 1..<64 {
            var isAnswered = false
            rig.device.refreshStatistics { isAnswered = true }
            try rig.driver.wait { isAnswered }
            #expect(rig.statistics.usedCount == count)
        }
        // A kick without a request changes nothing.
        rig.statistics.kick()
        rig.driver.settle()
        #expect(rig.statistics.usedCount == 63)
    }
}
