import Host
import TestSupport
import Testing
import Virtio

/// A balloon's state as a value: a fresh balloon continues from it.
@Suite struct BalloonStateTests {
    private func state(_ device: BalloonDevice) throws -> BalloonDevice.State {
        guard case .balloon(let state) = device.deviceState else { throw VirtioDriver.Failure.stopped }
        return state
    }

    @Test func aFreshBalloonContinues() throws {
        let rig = try BalloonRig()
        rig.device.setTarget(300)
        try rig.inflate([300, 301, 302])
        rig.driver.writeConfig(UInt32(3), at: 4)
        try rig.offer(BalloonRig.entries([(4, 1000), (5, 2000)]), on: rig.statistics)
        rig.driver.settle()
        let last = try #require(rig.device.lastStatistics)
        try rig.driver.pause()
        let state = try state(rig.device)
        #expect(state.statisticsHead == 0)
        let fresh = BalloonDevice(id: "fresh", deflatesOnOutOfMemory: true, reportsFreePages: true)
        try fresh.restore(.balloon(state))
        #expect(try self.state(fresh) == state)
        try rig.driver.exchangeDevice(fresh)
        rig.driver.settle()
        #expect(rig.driver.readConfig(UInt32.self, at: 0) == 300)
        #expect(fresh.givenUp == 3)
        // The chain that came again is not read again.
        #expect(fresh.lastStatistics?.time == last.time)
        #expect(fresh.lastStatistics?.values.reported.map(\.value) == [1000, 2000])
        #expect(try self.state(fresh) == state)
        // It still asks for new statistics.
        var isThere = false
        fresh.refreshStatistics { isThere = true }
        try rig.driver.wait { rig.statistics.usedCount == 1 }
        #expect(rig.statistics.takeUsed()?.head == 0)
        try rig.offer(BalloonRig.entries([(4, 500)]), on: rig.statistics)
        try rig.driver.wait { isThere }
        #expect(fresh.lastStatistics?.values.reported.map(\.value) == [500])
        rig.driver.write(.status, 0)
        #expect(try self.state(fresh).statistics == nil)
    }

    @Test func aPolicyContinuesToSample() throws {
        let policy = AutoBalloonPolicy(memory: 1 << 20, bufferPercent: 50, interval: 1_000_000)
        let rig = try BalloonRig(policy: policy)
        try rig.offer(BalloonRig.entries([(6, 2 << 30)]), on: rig.statistics)
        try rig.driver.wait { rig.statistics.usedCount == 1 }
        let state = try state(rig.device)
        #expect(state.isSampling && state.statisticsHead == nil)
        let fresh = BalloonDevice(id: "fresh", deflatesOnOutOfMemory: true, reportsFreePages: true, policy: policy)
        try fresh.restore(.balloon(state))
        try rig.driver.exchangeDevice(fresh)
        _ = rig.statistics.takeUsed()
        try rig.offer(BalloonRig.entries([(6, 2 << 30)]), on: rig.statistics)
        try rig.driver.wait { rig.driver.readConfig(UInt32.self, at: 0) > 0 }
        try rig.driver.wait { rig.statistics.usedCount == 1 }
    }

    @Test(arguments: [0, 15, 17]) func aHostileStateIsRefused(count: Int) throws {
        let rig = try BalloonRig()
        var state = try state(rig.device)
        state.target = .max
        state.actual = .max
        state.statistics = BalloonDevice.State.Statistics(values: Array(repeating: 1, count: count), time: .max)
        let fresh = BalloonDevice(id: "fresh")
        let before = try self.state(fresh)
        #expect(throws: StateError.self) { try fresh.restore(.balloon(state)) }
        #expect(throws: StateError.self) { try fresh.restore(.none) }
        #expect(try self.state(fresh) == before)
    }

    @Test func extremeValuesDoNotTrap() throws {
        let policy = AutoBalloonPolicy(memory: 1000, bufferPercent: 255, interval: 1_000_000)
        let rig = try BalloonRig()
        try rig.offer(BalloonRig.entries([(6, .max)]), on: rig.statistics)
        rig.driver.settle()
        let fresh = BalloonDevice(id: "fresh", deflatesOnOutOfMemory: true, reportsFreePages: true, policy: policy)
        try fresh.restore(
            .balloon(
                BalloonDevice.State(
                    target: .max, minimumTarget: .max, actual: .max,
                    statistics: BalloonDevice.State.Statistics(values: Array(repeating: .max, count: 16), time: .max),
                    statisticsHead: .max, isSampling: true)))
        try rig.driver.exchangeDevice(fresh)
        rig.driver.settle()
        #expect(fresh.givenUp == .max)
        #expect(fresh.lastStatistics?.values.reported.count == 1)
    }
}
