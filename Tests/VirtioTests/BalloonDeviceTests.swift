import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite struct BalloonDeviceTests {
    private typealias Rig = BalloonRig

    @Test(arguments: [false, true]) func whatIsGivenUpGoesBackToTheHost(shared: Bool) throws {
        let rig = try Rig(shared: shared)
        rig.fill()
        let before = rig.allocatedBytes
        let pages = Array(300..<556 as Range<UInt32>)
        try rig.inflate(pages)
        // Before anybody looks at the pages, for that brings them back.
        if let before, let after = rig.allocatedBytes { #expect(before - after == 1 << 20) }
        #expect((before != nil) == shared)
        #expect(rig.freedPages() == pages)
        // What is taken back is memory as any other.
        _ = try rig.driver.exchange(on: rig.deflate, readable: [Rig.numbers(pages)])
        #expect(rig.page(300)?.store(UInt8(1), at: 0) == true)
        #expect(rig.page(300)?.byte(at: 0) == 1)
    }

    @Test(arguments: [false, true]) func reportedMemoryGoesBackToTheHost(shared: Bool) throws {
        let rig = try Rig(shared: shared)
        rig.fill()
        let ranges: [(UInt32, UInt32)] = [(512, 256), (Rig.high, 512)]
        rig.reporting.setChain(
            ranges.map { .init(GuestAddress(UInt64($0.0) << 12), $0.1 << 12, isWritable: true) })
        rig.reporting.submit(0)
        try rig.driver.wait { rig.reporting.usedCount == 1 }
        #expect(rig.reporting.takeUsed() == .init(head: 0, written: 0))
        #expect(rig.freedPages() == Array(512..<768) + Array(Rig.high..<Rig.high + 512))
    }

    @Test func theTargetIsInTheConfiguration() throws {
        let rig = try Rig()
        _ = rig.driver.takeInterrupts()
        rig.device.setTarget(77)
        #expect(rig.driver.takeInterrupts().causes == .configurationChange)
        #expect(rig.driver.readConfig(UInt32.self, at: 0) == 77)
        var changes: [UInt32] = []
        rig.device.onChange = { [device = rig.device] in changes.append(device.givenUp) }
        for actual in [10, 10, 77] as [UInt32] { rig.driver.writeConfig(actual, at: 4) }
        #expect(changes == [10, 77])
        #expect(rig.driver.readConfig(UInt32.self, at: 4) == 77)
        // A new driver has given nothing up, and is told the target again.
        try rig.restart()
        #expect(changes == [10, 77, 0])
        #expect(rig.driver.readConfig(UInt32.self, at: 0) == 77)
    }

    @Test func withoutDriverThereIsNobodyToTell() throws {
        let device = BalloonDevice(id: "balloon0")
        #expect(!device.isActive)
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        #expect(!device.isActive)
        _ = try driver.start()
        #expect(device.isActive)
        driver.write(.status, 0)
        #expect(!device.isActive)
    }

    @Test(arguments: [false, true], [false, true]) func offersWhatWasAskedFor(deflates: Bool, reports: Bool) throws {
        let device = BalloonDevice(id: "balloon0", deflatesOnOutOfMemory: deflates, reportsFreePages: reports)
        let features = device.offeredFeatures
        #expect(features.contains(.balloonDeflateOnOOM) == deflates)
        #expect(features.contains(.balloonPageReporting) == reports)
        #expect(features.contains(.balloonStatistics))
        #expect(device.queueSizes.count == (reports ? 5 : 3))
    }

    /// As Linux numbers the queues, and as the specification does; with and without statistics.
    @Test(arguments: [(3, true), (4, true), (2, false), (4, false)])
    func reportsComeOnWhateverQueueTheDriverUses(index: Int, hasStatistics: Bool) throws {
        let features: Features =
            hasStatistics
            ? [.version1, .balloonPageReporting, .balloonStatistics] : [.version1, .balloonPageReporting]
        let rig = try Rig(features: features)
        rig.fill()
        rig.queues[index].setChain([.init(GuestAddress(300 << 12), 4096, isWritable: true)])
        rig.queues[index].submit(0)
        try rig.driver.wait { rig.queues[index].usedCount == 1 }
        #expect(rig.freedPages() == [300])
    }

    @Test func hugePagesStay() throws {
        let rig = try Rig(pageSize: 2 << 20)
        #expect(!rig.device.hasEffect)
        rig.fill()
        try rig.inflate(Array(512..<1024))
        rig.reporting.setChain([.init(GuestAddress(1024 << 12), 2 << 20, isWritable: true)])
        rig.reporting.submit(0)
        try rig.driver.wait { rig.reporting.usedCount == 1 }
        #expect(rig.freedPages().isEmpty)
    }

    // MARK: Statistics

    @Test func statisticsComeWhenTheyAreAskedFor() throws {
        let rig = try Rig()
        #expect(rig.device.lastStatistics == nil)
        let before = Clock.realTime
        try rig.offer(Rig.entries([(4, 1000), (5, 2000)]), on: rig.statistics)
        rig.driver.settle()
        #expect(rig.statistics.usedCount == 0, "kept until more are wanted")
        let first = try #require(rig.device.lastStatistics)
        #expect(first.values.reported.map(\.item.rawValue) == ["free-memory", "total-memory"])
        #expect(first.values.reported.map(\.value) == [1000, 2000])
        #expect(first.time >= before)
        var answers = 0
        rig.device.refreshStatistics { answers += 1 }
        rig.driver.settle()
        #expect(rig.statistics.takeUsed() == .init(head: 0, written: 0))
        #expect(answers == 0)
        // One that asks meanwhile is not kept waiting for another answer.
        rig.device.refreshStatistics { answers += 10 }
        #expect(answers == 10)
        try rig.offer(Rig.entries([(4, 1)]), on: rig.statistics)
        try rig.driver.wait { answers == 11 }
        #expect(rig.device.lastStatistics?.values.reported.map(\.value) == [1])
        rig.driver.settle()
        #expect(rig.device.operationsInFlight == 0)
    }

    @Test func whoeverAsksRightAfterAnAnswerWaitsForTheNext() throws {
        let rig = try Rig()
        try rig.offer(Rig.entries([(4, 1)]), on: rig.statistics)
        rig.driver.settle()
        var isAnswered = false
        rig.device.refreshStatistics { rig.device.refreshStatistics { isAnswered = true } }
        for value in 2...3 as ClosedRange<UInt64> {
            rig.driver.settle()
            #expect(rig.statistics.takeUsed() == .init(head: 0, written: 0))
            #expect(!isAnswered)
            try rig.offer(Rig.entries([(4, value)]), on: rig.statistics)
        }
        try rig.driver.wait { isAnswered }
        #expect(rig.device.lastStatistics?.values.reported.map(\.value) == [3])
    }

    @Test func whoeverAsksADriverThatDoesNotAnswerIsToldWhatThereIs() throws {
        let rig = try Rig()
        var answers = 0
        rig.device.refreshStatistics { answers += 1 }
        #expect(answers == 1, "there is nobody to ask yet")
        try rig.offer(Rig.entries([(0, 5)]), on: rig.statistics)
        rig.driver.settle()
        rig.device.refreshStatistics { answers += 1 }
        #expect(answers == 1)
        try rig.driver.wait { answers == 2 }
        #expect(rig.device.lastStatistics?.values.reported.map(\.value) == [5])
        // A reset is an answer as well.
        try rig.offer(Rig.entries([(0, 6)]), on: rig.statistics)
        rig.driver.settle()
        rig.device.refreshStatistics { answers += 1 }
        rig.driver.write(.status, 0)
        try rig.driver.wait { answers == 3 }
        #expect(rig.device.lastStatistics == nil)
    }

    @Test func everyItemHasItsNumber() throws {
        let rig = try Rig()
        try rig.offer(Rig.entries((0..<20).map { (UInt16($0), 100 + UInt64($0)) }), on: rig.statistics)
        rig.driver.settle()
        let told = try #require(rig.device.lastStatistics?.values.reported)
        #expect(told.map(\.value) == Array(100..<116))
        #expect(
            told.map(\.item.rawValue) == [
                "swap-in", "swap-out", "major-faults", "minor-faults", "free-memory", "total-memory",
                "available-memory", "disk-caches", "htlb-pgalloc", "htlb-pgfail", "oom-kills", "alloc-stalls",
                "async-scans", "direct-scans", "async-reclaims", "direct-reclaims",
            ])
    }
}
