import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite struct NetworkDeviceTests {
    private typealias Rig = NetworkRig

    // MARK: What the driver finds

    @Test func tellsItsAddressAndLink() throws {
        let rig = try Rig(isStarted: false)
        #expect((0..<6).map { rig.driver.readConfig(UInt8.self, at: $0) } == Rig.mac)
        #expect(rig.driver.readConfig(UInt16.self, at: 6) == 1)
        #expect(rig.driver.readConfig(UInt16.self, at: 8) == 1)
        #expect(rig.driver.read(.deviceID) == 1)
        #expect(!rig.driver.offeredFeatures.contains(.netMTU))
    }

    @Test func tellsAnUnusualMTU() throws {
        let rig = try Rig(mtu: 9000, isStarted: false)
        #expect(rig.driver.offeredFeatures.contains(.netMTU))
        #expect(rig.driver.readConfig(UInt16.self, at: 10) == 9000)
        #expect(!(try Rig(mtu: 1500, isStarted: false)).driver.offeredFeatures.contains(.netMTU))
    }

    // MARK: Sending

    @Test(arguments: [
        [12 + 100], [12, 100], [4, 8, 100], [1, 1, 10, 50, 50], [112 - 32] + Array(repeating: 1, count: 32),
    ])
    func sendsWhatTheDriverGives(_ cut: [Int]) throws {
        let rig = try Rig()
        var bytes = Rig.header + Rig.frame(100)
        var pieces: [[UInt8]] = []
        let whole = bytes
        for size in cut {
            pieces.append(Array(bytes.prefix(size)))
            bytes.removeFirst(size)
        }
        try rig.guestSends(pieces)
        #expect(rig.hostReceives() == whole)
        #expect(rig.hostReceives() == nil)
        #expect(rig.device.sent.packets == 1)
        #expect(rig.device.sent.bytes == 100)
    }

    @Test func sendsTheLargestFrame() throws {
        let rig = try Rig()
        let frame = Rig.frame(65550)
        try rig.guestSends([Rig.header, Array(frame.prefix(30000)), Array(frame.dropFirst(30000))])
        #expect(rig.hostReceives() == Rig.header + frame)
    }

    /// Offers frames of 200 bytes to send, with heads from `first` on; each begins with its number.
    private func offerFrames(_ rig: Rig, _ numbers: Range<Int>) throws {
        for number in numbers {
            let address = try rig.driver.allocate(212)
            try rig.driver.memory.write(
                Rig.header + Rig.frame(200, to: [0x02, 0, 0, 0, UInt8(number >> 8), UInt8(number & 0xff)]), at: address)
            let head = UInt16(number % 256)
            rig.sending.setChain([DriverQueue.Buffer(address, 212)], head: head)
            rig.sending.offer(head)
        }
        rig.sending.publish()
        rig.sending.kickIfWanted()
    }

    private func number(_ bytes: [UInt8]) -> Int { Int(bytes[16]) << 8 | Int(bytes[17]) }

    @Test func keepsTheOrderOfManyFrames() throws {
        let rig = try Rig()
        try offerFrames(rig, 0..<200)
        var seen: [Int] = []
        try rig.driver.wait {
            while let bytes = rig.hostReceives() { seen.append(number(bytes)) }
            return seen.count == 200
        }
        #expect(seen == Array(0..<200))
        try rig.driver.wait { rig.sending.usedCount == 200 }
    }

    /// The wire takes some frames only; the others wait, and nothing turns in the meantime.
    @Test func waitsForATapThatIsFull() throws {
        let rig = try Rig()
        try offerFrames(rig, 0..<256)
        // A wire as small as a Unix socket's is full long before.
        var sent = 0
        while rig.driver.reactor.turn(waiting: false) == (), rig.device.sent.packets != sent || sent == 0 {
            sent = Int(rig.device.sent.packets)
        }
        rig.driver.settle()
        #expect(rig.device.sent.packets == sent)
        #expect(sent < 256)
        #expect(rig.device.isIdle)
        let inFlight = rig.device.operationsInFlight
        rig.driver.settle()
        #expect(rig.device.operationsInFlight == inFlight)
        var seen: [Int] = []
        try rig.driver.wait {
            while let bytes = rig.hostReceives() { seen.append(number(bytes)) }
            return seen.count == 256
        }
        #expect(seen == Array(0..<256))
        try rig.driver.wait { rig.sending.usedCount == 256 }
        #expect(rig.device.sent.errors == 0)
        #expect(rig.device.sent.drops == 0)
    }

    @Test func aResetForgetsWhatWaitsForTheTap() throws {
        let rig = try Rig()
        try offerFrames(rig, 0..<256)
        rig.driver.settle()
        rig.driver.settle()
        rig.driver.write(.status, 0)
        try rig.driver.wait { rig.driver.read(.status) == 0 }
        while rig.hostReceives() != nil {}
        rig.driver.settle()
        #expect(rig.hostReceives() == nil)
        try rig.start(rig.driver.offeredFeatures)
        try rig.guestSends([Rig.header + Rig.frame(60)])
        #expect(rig.hostReceives() == Rig.header + Rig.frame(60))
    }

    // MARK: Receiving

    @Test(arguments: [Features.netMergeableBuffers, []])
    func receivesAFrame(without: Features) throws {
        let rig = try Rig(without: without)
        try rig.offer([1526], count: 4)
        rig.hostSends(Rig.frame(1514))
        let bytes = try rig.guestReceives()
        #expect(bytes == Rig.header.prefix(10) + [1, 0] + Rig.frame(1514))
        #expect(rig.device.received.packets == 1)
        #expect(rig.device.received.bytes == 1514)
    }

    @Test(arguments: [[5, 21], [1, 1, 10, 2000], [12, 2000], [3, 5, 2, 1, 1, 1, 1, 1, 1, 100, 2000]])
    func aFrameFillsAChainWhateverItsBuffers(_ sizes: [Int]) throws {
        let rig = try Rig(without: .netMergeableBuffers)
        try rig.offer(sizes)
        let frame = Rig.frame(min(sizes.reduce(0, +) - 12, 1514))
        rig.hostSends(frame)
        #expect(try rig.guestReceives() == Rig.header.prefix(10) + [1, 0] + frame)
    }

    @Test(arguments: [[100], [1526], [4096], [65562], [7, 9], [12, 1000]], [60, 1514, 9014, 60000])
    func aFrameTakesAsManyBuffersAsItNeeds(_ sizes: [Int], _ count: Int) throws {
        let rig = try Rig(queueSize: 1024, memory: 32 << 20)
        let size = sizes.reduce(0, +)
        let needed = (count + 12 + size - 1) / size
        guard needed <= 120 else { return }
        try rig.offer(sizes, count: min(1024 / sizes.count, needed + 40))
        for seed in 0..<UInt8(3) {
            rig.hostSends(Rig.frame(count, seed: seed))
            let bytes = try rig.guestReceives()
            let chains = Int(bytes[10]) | Int(bytes[11]) << 8
            #expect(chains == needed)
            #expect(Array(bytes.dropFirst(12)) == Rig.frame(count, seed: seed))
            if needed > 20 { break }
        }
    }

    @Test func keepsTheOrderOfWhatItReceives() throws {
        let rig = try Rig(queueSize: 1024, memory: 32 << 20)
        try rig.offer([1526], count: 600)
        var sent = 0
        var seen = 0
        try rig.driver.wait {
            while sent < 500, rig.hostSends(Rig.frame(100 + sent, seed: UInt8(sent % 251))) { sent += 1 }
            while let bytes = try? rig.takeChain() {
                #expect(Array(bytes.dropFirst(12)) == Rig.frame(100 + seen, seed: UInt8(seen % 251)))
                seen += 1
            }
            return seen == 500
        }
        #expect(rig.device.received.packets == 500)
    }

    @Test func withoutBuffersNothingIsLost() throws {
        let rig = try Rig(without: .netMergeableBuffers)
        for seed in 0..<UInt8(8) { rig.hostSends(Rig.frame(100, seed: seed)) }
        rig.driver.settle()
        #expect(rig.device.received == NetworkCounters())
        for seed in 0..<UInt8(8) {
            try rig.offer([1526])
            #expect(try rig.guestReceives().dropFirst(12) == Rig.frame(100, seed: seed)[...])
        }
    }

    /// A frame that is larger than all the driver has offered comes when it has offered more.
    @Test func aFrameWaitsForTheRestOfItsBuffers() throws {
        let rig = try Rig()
        try rig.offer([100], count: 2)
        rig.driver.settle()
        rig.hostSends(Rig.frame(1000))
        rig.hostSends(Rig.frame(70))
        rig.driver.settle()
        #expect(rig.receiving.usedCount == 0)
        #expect(rig.device.isIdle)
        for _ in 0..<8 { try rig.offer([100]) }
        rig.driver.settle()
        #expect(rig.receiving.usedCount == 0)
        try rig.offer([100], count: 3)
        let bytes = try rig.guestReceives()
        #expect(bytes == Rig.header.prefix(10) + [11, 0] + Rig.frame(1000))
        #expect(try rig.guestReceives().dropFirst(12) == Rig.frame(70)[...])
    }

    @Test func aFrameThatNoBufferHoldsIsAnError() throws {
        let rig = try Rig(without: .netMergeableBuffers)
        try rig.offer([200], count: 2)
        rig.hostSends(Rig.frame(189))
        try rig.driver.wait { rig.device.received.errors == 1 }
        rig.hostSends(Rig.frame(188))
        #expect(try rig.guestReceives().count == 200)
        #expect(rig.device.received.packets == 1)
    }

    // MARK: Life

    @Test func nothingMovesInAPause() throws {
        let rig = try Rig()
        try rig.offer([1526], count: 10)
        rig.driver.settle()
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        try rig.driver.wait { isPaused }
        for seed in 0..<UInt8(5) { rig.hostSends(Rig.frame(100, seed: seed)) }
        try offerFrames(rig, 0..<5)
        rig.sending.kick()
        rig.driver.settle()
        #expect(rig.receiving.usedCount == 0)
        #expect(rig.hostReceives() == nil)
        rig.driver.virtio.resume()
        for seed in 0..<UInt8(5) {
            #expect(try rig.guestReceives().dropFirst(12) == Rig.frame(100, seed: seed)[...])
        }
        try rig.driver.wait { rig.sending.usedCount == 5 }
    }

    @Test(arguments: 0..<12) func aResetUnderLoad(turns: Int) throws {
        let rig = try Rig()
        for _ in 0..<3 {
            try rig.offer([1526], count: 100)
            for seed in 0..<UInt8(20) { rig.hostSends(Rig.frame(1000, seed: seed)) }
            try offerFrames(rig, 0..<20)
            for _ in 0..<turns { rig.driver.reactor.turn(waiting: false) }
            rig.driver.write(.status, 0)
            try rig.driver.wait { rig.driver.read(.status) == 0 }
            #expect(rig.device.isIdle)
            // From here on the memory is the driver's again.
            rig.driver.memory.host.fill(0x11)
            rig.driver.settle()
            #expect(rig.driver.memory.host.bytes.allSatisfy { $0 == 0x11 })
            rig.driver.nextFree = 0x1000
            try rig.start(rig.driver.offeredFeatures)
            while rig.hostReceives() != nil {}
        }
        try rig.guestSends([Rig.header + Rig.frame(60)])
        try rig.offer([1526], count: 30)
        rig.hostSends(Rig.frame(77))
        try rig.driver.wait { rig.receiving.usedCount > 0 }
        try rig.driver.retire()
        #expect(rig.device.operationsInFlight == 0)
    }

    /// What one card has taken and not used, another that comes in its place uses.
    @Test func theNextCardHasAllBuffersAndFrames() throws {
        let rig = try Rig()
        try rig.offer([1526], count: 10)
        try offerFrames(rig, 0..<256)
        rig.driver.settle()
        rig.hostSends(Rig.frame(100))
        try rig.driver.wait { rig.receiving.usedCount == 1 }
        var seen: [Int] = []
        while let bytes = rig.hostReceives() { seen.append(number(bytes)) }
        try rig.exchange()
        try rig.driver.wait {
            while let bytes = rig.hostReceives() { seen.append(number(bytes)) }
            return seen.count >= 256
        }
        #expect(seen == Array(0..<256))
        for seed in 0..<UInt8(9) { rig.hostSends(Rig.frame(1000, seed: seed)) }
        try rig.driver.wait { rig.receiving.usedCount == 10 }
        _ = try rig.takeChain()
        for seed in 0..<UInt8(9) { #expect(try rig.takeChain()?.dropFirst(12) == Rig.frame(1000, seed: seed)[...]) }
    }

    // MARK: Link

    @Test func aPulledCableDropsFrames() throws {
        let rig = try Rig()
        try rig.offer([1526], count: 10)
        _ = rig.driver.takeInterrupts()
        rig.device.setLink(up: false)
        #expect(rig.driver.takeInterrupts().causes == .configurationChange)
        #expect(rig.driver.readConfig(UInt16.self, at: 6) == 0)
        #expect(!(try rig.passes(Rig.frame(60))))
        try rig.guestSends([Rig.header + Rig.frame(60)])
        #expect(rig.hostReceives() == nil)
        #expect(rig.device.sent.drops == 1)
        rig.device.setLink(up: true)
        #expect(rig.driver.takeInterrupts().causes.contains(.configurationChange))
        #expect(rig.driver.readConfig(UInt16.self, at: 6) == 1)
        #expect(try rig.passes(Rig.frame(60)))
    }

    @Test func withoutItsTapTheLinkIsDown() throws {
        let rig = try Rig()
        try rig.offer([1526], count: 10)
        rig.driver.settle()
        rig.hostLeaves()
        try rig.driver.wait { rig.driver.readConfig(UInt16.self, at: 6) == 0 }
        rig.driver.settle()
        // Nobody asks a tap again that is gone.
        #expect(rig.device.operationsInFlight == 0)
        try rig.guestSends([Rig.header + Rig.frame(60)])
        #expect(rig.device.sent.drops == 1)
        rig.device.setLink(up: true)
        #expect(rig.driver.readConfig(UInt16.self, at: 6) == 0)
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
    }
}
