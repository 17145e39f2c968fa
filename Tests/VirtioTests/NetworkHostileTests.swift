import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver that means harm, or is broken, may do to a network card: the card goes on.
@Suite struct NetworkHostileTests {
    private typealias Rig = NetworkRig

    private func expectWorks(_ rig: Rig) throws {
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
        while rig.hostReceives() != nil {}
        try rig.guestSends([Rig.header + Rig.frame(60)])
        #expect(rig.hostReceives() == Rig.header + Rig.frame(60))
        let before = rig.device.received.packets
        try rig.offer([2000], count: 4)
        rig.hostSends(Rig.frame(500))
        try rig.driver.wait { rig.device.received.packets > before }
        try rig.driver.wait { rig.device.isIdle }
    }

    @Test(
        arguments: [
            ("no header", [0]), ("one byte", [1]), ("half a header", [11]), ("a header alone", [12]),
            ("a header in pieces, alone", [1, 11]), ("more than the largest", [65606]),
            ("much more than the largest", [65536, 65536, 65536, 65536]),
        ])
    func aBadFrameIsNotSent(name: String, sizes: [Int]) throws {
        let rig = try Rig()
        let reply = try rig.driver.exchange(
            on: rig.sending, readable: sizes.filter { $0 > 0 }.map { [UInt8](repeating: 0, count: $0) },
            writable: sizes == [0] ? [100] : [])
        #expect(reply.written == 0)
        #expect(rig.hostReceives() == nil)
        #expect(rig.device.sent.errors == 1)
        #expect(rig.device.sent.packets == 0)
        try expectWorks(rig)
    }

    @Test(arguments: [33, 1024, 1025, 2000]) func aFrameOfManyPieces(_ count: Int) throws {
        let rig = try Rig(queueSize: 4096, memory: 16 << 20)
        let frame = Rig.header + Rig.frame(count + 100)
        let pieces = (0..<count - 1).map { [frame[$0]] } + [Array(frame.dropFirst(count - 1))]
        for _ in 0..<3 { try rig.guestSends(pieces) }
        #expect(rig.device.sent.packets == (count <= 1024 ? 3 : 0))
        #expect(rig.device.sent.errors == (count <= 1024 ? 0 : 3))
        if count <= 1024 { #expect(rig.hostReceives() == frame) }
        try expectWorks(rig)
    }

    @Test func manyFramesOfManyPieces() throws {
        let rig = try Rig(queueSize: 4096, memory: 16 << 20)
        let address = try rig.driver.allocate(200)
        for frame in 0..<20 {
            let head = UInt16(frame * 100)
            rig.sending.setChain(
                (0..<100).map { DriverQueue.Buffer(GuestAddress(address.rawValue + UInt64($0)), 1) }, head: head)
            rig.sending.offer(head)
        }
        rig.sending.publish()
        rig.sending.kick()
        try rig.driver.wait { rig.sending.usedCount == 20 }
        #expect(rig.device.sent.packets == 20)
        while rig.sending.takeUsed() != nil {}
        try expectWorks(rig)
    }

    @Test func whatTheDeviceCannotWriteItGivesBack() throws {
        let rig = try Rig()
        try rig.offer([100], count: 3, isWritable: false)
        try rig.offer([0], count: 3)
        rig.hostSends(Rig.frame(60))
        try rig.driver.wait { rig.receiving.usedCount == 6 }
        while let used = rig.receiving.takeUsed() { #expect(used.written == 0) }
        try expectWorks(rig)
    }

    @Test(arguments: [Features.netMergeableBuffers, []], [1, 2, 9, 10, 11, 12, 13, 25])
    func tinyBuffers(without: Features, size: Int) throws {
        let rig = try Rig(without: without)
        try rig.offer([size], count: 100)
        rig.hostSends(Rig.frame(60))
        if without.isEmpty {
            try rig.driver.wait { rig.device.received.packets == 1 }
            #expect(rig.receiving.usedCount == (72 + size - 1) / size)
            while let used = rig.receiving.takeUsed() { #expect(used.written <= UInt32(size)) }
        } else {
            try rig.driver.wait { rig.device.received.errors == 1 }
            #expect(rig.receiving.usedCount == 0)
        }
    }

    /// More buffers than a window takes, and still too few bytes for the frame.
    @Test func aFrameThatNoWindowHoldsIsAnError() throws {
        let rig = try Rig(queueSize: 4096)
        try rig.offer([1], count: 2000)
        rig.hostSends(Rig.frame(1100))
        try rig.driver.wait { rig.device.received.errors == 1 }
        rig.hostSends(Rig.frame(100))
        try rig.driver.wait { rig.device.received.packets == 1 }
        #expect(rig.receiving.usedCount == 112)
    }

    @Test func aChainOfMoreBuffersThanAWindow() throws {
        let rig = try Rig(queueSize: 4096, without: .netMergeableBuffers)
        try rig.offer(Array(repeating: 1, count: 1100) + [1000])
        rig.hostSends(Rig.frame(1011))
        try rig.driver.wait { rig.device.received.packets == 1 }
        rig.hostSends(Rig.frame(1012))
        try rig.offer(Array(repeating: 1, count: 1100) + [1000])
        try rig.driver.wait { rig.device.received.errors == 1 }
    }

    @Test func aBufferOfFourGigabytesMinusOneIsNoHarm() throws {
        let rig = try Rig()
        rig.receiving.setDescriptor(0, address: 0x1000, count: .max, flags: DriverQueue.Flag.write)
        rig.receiving.offer(0)
        rig.receiving.publish()
        rig.receiving.kick()
        try rig.driver.wait { rig.driver.status.contains(.deviceNeedsReset) }
    }

    @Test(arguments: [
        Features.netGuestTSO4, .netGuestTSO6, .netGuestUSO4, .netGuestUSO6, .netGuestECN, .netHostTSO4, .netHostTSO6,
        .netHostECN, .netHostUSO, .netControlReceive, .netControlVLAN, .netControlMAC, .netMultiqueue,
        .netControlReceiveExtra, .netControlGuestOffloads,
    ]) func aFeatureAloneIsRefused(_ feature: Features) throws {
        let rig = try Rig(isStarted: false)
        #expect(!rig.device.accepts(feature.union(.version1)))
    }

    @Test func whatWasNotOfferedIsRefused() throws {
        let rig = try Rig(isStarted: false)
        #expect(throws: VirtioDriver.Failure.self) {
            try rig.start(rig.driver.offeredFeatures.union(.netHostUSO))
        }
    }

    @Test func kicksBeforeAndAfterAreNoHarm() throws {
        let rig = try Rig(isStarted: false)
        for queue in 0..<3 { rig.driver.write(.queueNotify, UInt32(queue)) }
        rig.driver.settle()
        try rig.start(rig.driver.offeredFeatures)
        for _ in 0..<100 { for queue in rig.queues { queue.kick() } }
        rig.driver.settle()
        try expectWorks(rig)
    }

    /// Everything may change between check and use: the bytes of a frame, in and out, are nobody's but the driver's.
    @Test func framesOfAnySizeOnBuffersOfAnySize() throws {
        var random = RandomBytes(seed: Chance.seed(27))
        let rounds = Chance.cases(1200) / 30
        for _ in 0..<rounds {
            let rig = try Rig(
                queueSize: 256, memory: 16 << 20, without: random.below(2) == 0 ? .netMergeableBuffers : [])
            var sent: UInt64 = 0
            for _ in 0..<30 {
                let sizes = (0..<1 + random.below(4)).map { _ in random.below(2000) }
                try? rig.offer(sizes)
                if rig.hostSends(Rig.frame(14 + random.below(3000), to: random.bytes(6))) { sent += 1 }
                if random.below(3) == 0 { rig.driver.settle() }
                while try rig.takeChain() != nil {}
            }
            rig.driver.settle()
            let got = rig.device.received
            #expect(got.packets + got.errors + got.drops <= sent)
            #expect(!rig.driver.status.contains(.deviceNeedsReset))
            rig.driver.write(.status, 0)
            try rig.driver.wait { rig.driver.read(.status) == 0 }
        }
        Chance.report(30 * rounds, of: "network frames")
    }
}
