import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A card that sends on a reactor of another thread than the one it receives on.
@Suite struct SplitNetworkTests {
    private typealias Rig = NetworkRig

    private let sender: ReactorThread

    init() throws {
        sender = try ReactorThread(name: "sender")
    }

    /// Turns the card's reactor until `condition` holds, whatever the other thread does.
    private func wait(_ rig: Rig, _ condition: () throws -> Bool) throws {
        let end = Clock.monotonic + 20_000_000_000
        let pause = Futex(0)
        while try !condition() {
            guard Clock.monotonic < end else { throw VirtioDriver.Failure.timedOut }
            rig.driver.settle()
            pause.wait(while: 0, atMost: 100_000)
        }
    }

    /// The numbers of the frames that reach the host, until there are `count`.
    private func arrivals(_ rig: Rig, _ count: Int) throws -> [Int] {
        var seen: [Int] = []
        try wait(rig) {
            while let bytes = rig.hostReceives() { seen.append(Int(bytes[16]) << 8 | Int(bytes[17])) }
            return seen.count >= count
        }
        return seen
    }

    private func pause(_ rig: Rig) throws {
        var isAtRest = false
        rig.driver.virtio.pause { isAtRest = true }
        try wait(rig) { isAtRest }
    }

    private func reset(_ rig: Rig) throws {
        rig.driver.write(.status, 0)
        try wait(rig) { rig.driver.read(.status) == 0 }
    }

    /// A new driver, after a reset.
    private func restart(_ rig: Rig) throws {
        rig.driver.nextFree = 0x1000
        try rig.start(rig.driver.offeredFeatures)
    }

    private func retire(_ rig: Rig) throws {
        var isDone = false
        rig.driver.virtio.detachDevice { isDone = true }
        try wait(rig) { isDone }
    }

    // MARK: Frames

    @Test func framesPassBothWays() throws {
        let rig = try Rig(sender: sender.handle)
        try rig.offerFrames(0..<200)
        #expect(try arrivals(rig, 200) == Array(0..<200))
        try wait(rig) { rig.sending.usedCount == 200 && rig.device.sent.packets == 200 }
        #expect(rig.device.sent.bytes == 200 * 200)
        try rig.offer([1526], count: 1)
        rig.hostSends(Rig.frame(100))
        #expect(try rig.guestReceives().count == 112)
        #expect(rig.device.received.packets == 1)
        try retire(rig)
    }

    @Test func theDriverIsToldOfWhatWasSent() throws {
        let rig = try Rig(sender: sender.handle)
        _ = rig.driver.takeInterrupts()
        try rig.offerFrames(0..<1)
        var raised: UInt64 = 0
        try wait(rig) {
            let interrupts = rig.driver.takeInterrupts()
            raised += interrupts.count
            #expect(interrupts.causes.contains(.usedBuffer))
            return raised > 0 && rig.sending.usedCount == 1
        }
        try retire(rig)
    }

    /// The wire takes some frames only; the others wait for it, also over a pause.
    @Test func waitsForATapThatIsFull() throws {
        let rig = try Rig(sender: sender.handle)
        try rig.offerFrames(0..<256)
        try wait(rig) { rig.device.sent.packets > 0 }
        try pause(rig)
        let sent = Int(rig.device.sent.packets)
        #expect(sent < 256)
        #expect(try arrivals(rig, sent) == Array(0..<sent))
        rig.driver.settle()
        #expect(rig.hostReceives() == nil)
        rig.driver.virtio.resume()
        #expect(try arrivals(rig, 256 - sent) == Array(sent..<256))
        try wait(rig) { rig.sending.usedCount == 256 }
        #expect(rig.device.sent.errors == 0 && rig.device.sent.drops == 0)
        try retire(rig)
    }

    @Test func aPauseHoldsEverything() throws {
        let rig = try Rig(sender: sender.handle)
        for round in 0..<50 {
            try pause(rig)
            #expect(rig.driver.virtio.isAtRest)
            try rig.offerFrames(round..<round + 1)
            rig.driver.settle()
            #expect(rig.hostReceives() == nil)
            rig.driver.virtio.resume()
            #expect(try arrivals(rig, 1) == [round])
        }
        try retire(rig)
    }

    @Test func withoutALinkFramesAreDropped() throws {
        let rig = try Rig(sender: sender.handle)
        rig.device.setLink(up: false)
        try rig.offerFrames(0..<3)
        try wait(rig) { rig.device.sent.drops == 3 }
        #expect(rig.hostReceives() == nil)
        rig.device.setLink(up: true)
        try rig.offerFrames(3..<4)
        #expect(try arrivals(rig, 1) == [3])
        try retire(rig)
    }

    // MARK: Drivers

    @Test func aResetLeavesNothingBehind() throws {
        let rig = try Rig(sender: sender.handle)
        for round in 0..<20 {
            try rig.offerFrames(0..<256)
            try reset(rig)
            #expect(rig.driver.virtio.isAtRest)
            while rig.hostReceives() != nil {}
            rig.driver.settle()
            #expect(rig.hostReceives() == nil, "\(round)")
            try restart(rig)
        }
        try rig.offerFrames(7..<8)
        #expect(try arrivals(rig, 1) == [7])
        try retire(rig)
    }

    @Test func aBrokenQueueStopsTheCard() throws {
        let rig = try Rig(sender: sender.handle)
        rig.sending.setDescriptor(0, address: UInt64.max - 8, count: 100)
        rig.sending.submit(0)
        try wait(rig) { rig.driver.status.contains(.deviceNeedsReset) }
        try wait(rig) { rig.driver.virtio.isAtRest }
        try reset(rig)
        try restart(rig)
        try rig.offerFrames(1..<2)
        #expect(try arrivals(rig, 1) == [1])
        try retire(rig)
    }

    @Test func aTapThatIsGoneTakesTheLinkDown() throws {
        let rig = try Rig(sender: sender.handle)
        try rig.offer([1526])
        rig.hostLeaves()
        try wait(rig) { rig.driver.readConfig(UInt16.self, at: 6) == 0 }
        try retire(rig)
    }

    /// The driver goes on with a card that comes instead, wherever that one sends.
    @Test func anotherCardGoesOn() throws {
        let rig = try Rig(sender: sender.handle)
        try rig.offerFrames(0..<10)
        #expect(try arrivals(rig, 10) == Array(0..<10))
        try wait(rig) { rig.sending.usedCount == 10 }
        try pause(rig)
        try rig.exchange()
        try rig.offerFrames(10..<20)
        #expect(try arrivals(rig, 10) == Array(10..<20))
        try wait(rig) { rig.sending.usedCount == 20 }
    }
}
