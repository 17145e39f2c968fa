import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A generator whose numbers are the same in every run (SplitMix64).
struct FixedRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Rings as chance makes them, always the same ones.
@Suite(.serialized) struct RandomRingTests {
    private static let addresses: [UInt64] = [0x800, 0x808, 0xfff, 0x1000, 0xff8, 0x400, 1 << 63, .max]
    private static let lengths: [UInt32] = [0, 1, 8, 16, 32, 48, 64, 4096, 4097, .max]

    private static func entry(_ random: inout FixedRandom, count: UInt16, index: UInt16) -> ChainModel.Entry {
        // Mostly forward and mostly sound, so that long chains come about.
        let isLikely = Int.random(in: 0..<8, using: &random) != 0
        return ChainModel.Entry(
            address: isLikely ? 0x600 + 32 * UInt64.random(in: 0..<64, using: &random) : pick(addresses, &random),
            length: isLikely ? UInt32.random(in: 0..<32, using: &random) : pick(lengths, &random),
            flags: isLikely ? pick([0, 1, 1, 1, 2, 3, 4], &random) : UInt16.random(in: 0...255, using: &random),
            next: isLikely ? index + 1 : UInt16.random(in: 0...count, using: &random))
    }

    private static func pick<T>(_ choices: [T], _ random: inout FixedRandom) -> T {
        choices[Int.random(in: 0..<choices.count, using: &random)]
    }

    /// 100 000 chains against the model.
    @Test func chains() throws {
        var random = FixedRandom(state: Chance.seed(20_261_122))
        let rounds = Chance.cases(100_000) / 1000
        for round in 0..<rounds {
            let size = UInt16(1) << UInt16.random(in: 0...3, using: &random)
            let trial = try RingTrial(size: size, features: round % 4 == 0 ? .version1 : [.version1, .splitRing])
            for _ in 0..<1000 {
                var table = (0..<size).map { Self.entry(&random, count: size, index: $0) }
                let inner = (0..<UInt16.random(in: 1...4, using: &random)).map {
                    Self.entry(&random, count: 4, index: $0)
                }
                for index in table.indices where table[index].flags & 4 != 0 && Bool.random(using: &random) {
                    table[index].address = 0x400
                    table[index].length = 16 * UInt32(inner.count)
                    table[index].flags = 4
                }
                try trial.run(head: UInt16.random(in: 0...size, using: &random) % (size + 1), table, inner)
            }
        }
        Chance.report(1000 * rounds, of: "chains")
    }

    /// Heads in any order, offered again too early or out of range, with a device that keeps some for a while.
    @Test func headsInFlight() throws {
        Log.setLevel(.error)
        var random = FixedRandom(state: Chance.seed(7))
        let rig = try Rig()
        let rounds = Chance.cases(20_000) / 100
        for _ in 0..<rounds {
            rig.driver.write(.status, 0)
            rig.driver.nextFree = 0x1000
            let queue = try rig.driver.start()[0]
            rig.device.holdsRequests = true
            var inFlight: Set<UInt16> = []
            var isBroken = false
            for _ in 0..<100 where !isBroken {
                let isMistake = Int.random(in: 0..<64, using: &random) == 0
                let free = (0..<8).filter { !inFlight.contains($0) }
                if let head = isMistake ? UInt16.random(in: 0...9, using: &random) : free.randomElement(using: &random)
                {
                    isBroken = head > 7 || inFlight.contains(head)
                    queue.submit(head)
                    if !isBroken { inFlight.insert(head) }
                }
                try rig.driver.wait {
                    isBroken ? rig.driver.status.contains(.deviceNeedsReset) : rig.device.held.count == inFlight.count
                }
                #expect(rig.driver.status.contains(.deviceNeedsReset) == isBroken)
                if isBroken || inFlight.count == 8 || Bool.random(using: &random) {
                    rig.device.releaseHeld()
                    try rig.driver.wait { queue.usedCount == inFlight.count }
                    while let used = queue.takeUsed() { #expect(inFlight.remove(UInt16(used.head)) != nil) }
                }
            }
            rig.device.releaseHeld()
        }
        Chance.report(100 * rounds, of: "heads in flight")
        try rig.expectWorksAfterReset()
    }
}
