import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A balloon that moves by itself. The machine says that the guest has 1 GiB; looks are a millisecond apart.
@Suite struct BalloonRuleTests {
    private typealias Rig = BalloonRig

    private static let mib: UInt64 = 1 << 20
    private static let pagesPerMiB: UInt32 = 256
    private static let memory: UInt32 = 1024 * pagesPerMiB

    /// In MiB: of 1024, what is to be given up, what has been, and what is available; what is to be given up then.
    @Test(arguments: [
        // The guest needs 224 and gets as much again by half.
        (0, 0, 800, 688), (400, 400, 400, 688), (688, 688, 112, 688),
        // On the way there it needs the same.
        (688, 300, 500, 688),
        // It needs more: 324, so 486.
        (688, 688, 12, 538),
        // It needs nearly nothing; 64 MiB are left on top of that.
        (0, 0, 1000, 936), (0, 0, 1024, 960),
        // It needs all.
        (500, 500, 0, 238), (0, 0, 0, 0), (0, 0, 100, 0),
        // What it tells is impossible.
        (0, 0, 5000, 960), (0, 5000, 100, 960), (5000, 5000, 0, 960),
        // An eighth of the buffer is not worth the trouble.
        (674, 674, 126, 688), (675, 675, 125, 675), (701, 701, 99, 701), (702, 702, 98, 688),
    ])
    func leavesWhatIsNeededAndABuffer(target: UInt32, givenUp: UInt32, available: UInt64, next: UInt32) {
        let rule = AutoBalloonPolicy(memory: Self.memory, bufferPercent: 50, interval: 1)
        let pages = rule.target(
            after: target * Self.pagesPerMiB, givenUp: givenUp * Self.pagesPerMiB, available: available * Self.mib)
        #expect(pages == next * Self.pagesPerMiB)
    }

    @Test func noNumbersAreTooLarge() {
        let extremes: [UInt32] = [0, 1, .max - 1, .max]
        for memory in extremes {
            let rule = AutoBalloonPolicy(memory: memory, bufferPercent: 80, interval: 1)
            for target in extremes {
                for givenUp in extremes {
                    for available in [0, 1, 4096, UInt64.max - 1, .max] {
                        let next = rule.target(after: target, givenUp: givenUp, available: available)
                        #expect(next <= max(memory, target))
                    }
                }
            }
        }
    }

    private func makeRig(
        features: Features? = nil, pageSize: Int = HostProcess.pageSize, interval: UInt64 = 1_000_000
    ) throws -> Rig {
        try Rig(
            pageSize: pageSize, features: features,
            policy: AutoBalloonPolicy(memory: Self.memory, bufferPercent: 50, interval: interval))
    }

    /// Answers the next request for statistics.
    private func answer(_ rig: Rig, _ entries: [(UInt16, UInt64)]) throws {
        try rig.driver.wait { rig.statistics.usedCount == 1 }
        #expect(rig.statistics.takeUsed() == .init(head: 0, written: 0))
        try rig.offer(Rig.entries(entries.map { ($0.0, $0.1) }), on: rig.statistics)
    }

    private func target(_ rig: Rig) -> UInt32 { rig.driver.readConfig(UInt32.self, at: 0) / Self.pagesPerMiB }

    /// Lets time go by in which it would look several times.
    private func wait(_ rig: Rig) throws {
        let end = Clock.monotonic + 20_000_000
        while Clock.monotonic < end { rig.driver.reactor.turn(waiting: false) }
    }

    @Test func followsWhatTheDriverTells() throws {
        let rig = try makeRig()
        try rig.offer(Rig.entries([(6, 0)]), on: rig.statistics)
        _ = rig.driver.takeInterrupts()
        try answer(rig, [(4, 1), (6, 800 * Self.mib)])
        try rig.driver.wait { target(rig) == 688 }
        #expect(rig.driver.takeInterrupts().causes.contains(.configurationChange))
        rig.driver.writeConfig(688 * Self.pagesPerMiB, at: 4)
        try answer(rig, [(6, 12 * Self.mib)])
        try rig.driver.wait { target(rig) == 538 }
        // A driver that does not know what is available tells what is free; one that tells neither is left alone.
        try answer(rig, [(4, 112 * Self.mib)])
        try rig.driver.wait { target(rig) == 688 }
        try answer(rig, [(5, 1024 * Self.mib)])
        try rig.driver.wait { rig.statistics.usedCount == 1 }
        #expect(target(rig) == 688)
    }

    /// What others have asked for is no reason to move.
    @Test func waitsForItsTime() throws {
        let rig = try makeRig(interval: 3_600_000_000_000)
        try rig.offer(Rig.entries([(6, 800 * Self.mib)]), on: rig.statistics)
        rig.driver.settle()
        rig.device.refreshStatistics {}
        rig.driver.settle()
        try answer(rig, [(6, 800 * Self.mib)])
        rig.driver.settle()
        #expect(rig.device.lastStatistics != nil && target(rig) == 0)
    }

    @Test func aCommandTakesEffectAtOnceAndSetsTheMostThatTheGuestGets() throws {
        let rig = try makeRig()
        try rig.offer(Rig.entries([(6, 800 * Self.mib)]), on: rig.statistics)
        rig.driver.settle()
        rig.device.setTarget(900 * Self.pagesPerMiB)
        #expect(target(rig) == 900)
        // By the rule it would be 688, but that is more for the guest than was said.
        try answer(rig, [(6, 800 * Self.mib)])
        try rig.driver.wait { rig.statistics.usedCount == 1 }
        #expect(target(rig) == 900)
        rig.device.setTarget(100 * Self.pagesPerMiB)
        #expect(target(rig) == 100)
        try answer(rig, [(6, 800 * Self.mib)])
        try rig.driver.wait { target(rig) == 688 }
        // A new driver begins with what was said.
        try rig.restart()
        #expect(target(rig) == 100)
        try rig.offer(Rig.entries([(6, 0)]), on: rig.statistics)
        try answer(rig, [(6, 800 * Self.mib)])
        try rig.driver.wait { target(rig) == 688 }
    }

    @Test func aPausedMachineIsLeftAlone() throws {
        let rig = try makeRig()
        try rig.offer(Rig.entries([(6, 0)]), on: rig.statistics)
        rig.driver.settle()
        try rig.driver.pause()
        // It may have been asked before the pause.
        let asked = rig.statistics.usedCount
        try wait(rig)
        #expect(rig.statistics.usedCount == asked && target(rig) == 0)
        rig.driver.virtio.resume()
        try answer(rig, [(6, 800 * Self.mib)])
        try rig.driver.wait { target(rig) == 688 }
    }

    /// It asks once, whatever else is asked meanwhile, and for as long as it takes.
    @Test func aDriverThatDoesNotAnswerIsNotAskedAgain() throws {
        let rig = try makeRig()
        try rig.offer(Rig.entries([(6, 0)]), on: rig.statistics)
        try rig.driver.wait { rig.statistics.usedCount == 1 }
        try wait(rig)
        #expect(rig.statistics.usedCount == 1 && rig.device.operationsInFlight == 1)
        var answers = 0
        rig.device.refreshStatistics { answers += 1 }
        #expect(answers == 1)
        try answer(rig, [(6, 800 * Self.mib)])
        try rig.driver.wait { target(rig) == 688 }
    }

    @Test func aResetEndsTheLooking() throws {
        let rig = try makeRig()
        for _ in 0..<20 {
            try rig.offer(Rig.entries([(6, 800 * Self.mib)]), on: rig.statistics)
            rig.driver.settle()
            rig.driver.write(.status, 0)
            try rig.driver.wait { rig.device.operationsInFlight == 0 }
            #expect(target(rig) == 0)
            try rig.restart()
            #expect(rig.device.operationsInFlight <= 1)
        }
    }

    @Test func withoutStatisticsOrEffectItDoesNotLook() throws {
        for rig in [
            try makeRig(features: [.version1, .balloonDeflateOnOOM]), try makeRig(pageSize: 2 << 20),
        ] {
            #expect(rig.device.operationsInFlight == 0)
            rig.device.setTarget(5)
            #expect(rig.driver.readConfig(UInt32.self, at: 0) == 5)
        }
    }
}
