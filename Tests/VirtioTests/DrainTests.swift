import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A device comes to rest, or does not, and another one takes its place.
@Suite struct DrainTests {
    /// A rig whose device holds requests with these heads, taken in this order.
    private func rig(holding heads: [UInt16], _ features: Features = .version1) throws -> (Rig, DriverQueue) {
        let rig = try Rig()
        let queue = try rig.driver.start(features)[0]
        rig.device.holdsRequests = true
        for head in heads { offer(head, queue) }
        queue.kick()
        try rig.driver.wait { rig.device.held.count == heads.count }
        _ = rig.driver.takeInterrupts()
        return (rig, queue)
    }

    private func offer(_ head: UInt16, _ queue: DriverQueue) {
        queue.setDescriptor(Int(head), address: 0x8000, count: 16, flags: DriverQueue.Flag.write)
        queue.offer(head)
        queue.publish()
    }

    private func heads(_ queue: DriverQueue) -> [UInt32] {
        var heads: [UInt32] = []
        while let used = queue.takeUsed() { heads.append(used.head) }
        return heads
    }

    @Test("What does not end in time is told, and the device goes on")
    func timedOut() throws {
        let (rig, queue) = try rig(holding: [0, 1, 2])
        var answers: [String?] = []
        rig.driver.virtio.drain(until: Clock.monotonic) { answers.append($0) }
        #expect(answers.isEmpty && rig.driver.virtio.isPaused)
        offer(3, queue)
        queue.kick()
        try rig.driver.wait { !answers.isEmpty }
        #expect(answers == ["3 requests"] && !rig.driver.virtio.isPaused)
        try rig.driver.wait { rig.device.held.count == 4 }
        rig.device.releaseHeld()
        try rig.driver.wait { queue.usedCount == 4 }
        rig.driver.settle()
        #expect(answers.count == 1)
        rig.driver.virtio.drain(until: .max) { answers.append($0) }
        #expect(answers == ["3 requests", nil])
    }

    @Test("A device that was paused before stays so")
    func timedOutWhilePaused() throws {
        let (rig, queue) = try rig(holding: [0])
        rig.driver.virtio.pause {}
        var answer: String??
        rig.driver.virtio.drain(until: Clock.monotonic) { answer = $0 }
        try rig.driver.wait { answer != nil }
        #expect(answer == "1 request" && rig.driver.virtio.isPaused)
        rig.device.releaseHeld()
        offer(1, queue)
        queue.kick()
        rig.driver.settle()
        #expect(rig.device.held.isEmpty && queue.usedCount == 1)
    }

    @Test("Once the device is at rest its interrupts have been raised")
    func interruptsComeFirst() throws {
        let (rig, _) = try rig(holding: [0])
        var raised: UInt64?
        rig.driver.virtio.drain(until: .max) { _ in raised = rig.driver.interrupt.takeRaised() }
        rig.device.releaseHeld()
        try rig.driver.wait { raised != nil }
        #expect(raised == 1)
    }

    @Test("Requests in flight end here, later ones on the device and the reactor that come")
    func anotherReactor() throws {
        let (rig, queue) = try rig(holding: [0, 1])
        let (old, new) = (rig.reactor, try Reactor(name: "other"))
        let next = EchoDevice(queueSizes: [8])
        var isAtRest = false
        rig.driver.virtio.pause { isAtRest = true }
        offer(2, queue)
        queue.kick()
        rig.driver.settle()
        #expect(!isAtRest)
        rig.device.releaseHeld()
        try rig.driver.wait { isAtRest }
        try rig.driver.exchangeDevice(next, on: new)
        try rig.driver.wait { queue.usedCount == 3 }
        #expect(rig.device.requests == 2 && next.requests == 1)
        let interrupts = rig.driver.takeInterrupts()
        #expect(interrupts.causes == [.usedBuffer, .configurationChange] && interrupts.count >= 1)

        rig.driver.settle()
        offer(3, queue)
        queue.kick()
        for _ in 0..<4 { old.turn(waiting: false) }
        try rig.driver.wait { queue.usedCount == 4 }
        #expect(next.requests == 2, "the first reactor listens no more")
        rig.driver.write(.queueNotify, 0)
        rig.driver.write(.status, 0)
        rig.driver.settle()
        #expect(next.resets == 1 && rig.device.resets == 1)
    }

    /// As a console does with the buffers for what its port receives.
    @Test("Chains that a device holds at rest are handed to the next one first, in their order")
    func heldChains() throws {
        let (rig, queue) = try rig(holding: [5, 1, 3, 2])
        rig.device.waitsForOutside = true
        #expect(rig.device.context?.queue(0)?.complete(1, written: 0) == true)
        let next = EchoDevice(queueSizes: [8])
        next.holdsRequests = true
        try rig.driver.exchangeDevice(next, on: try Reactor(name: "other"))
        offer(4, queue)
        queue.kick()
        try rig.driver.wait { next.held.count == 4 }
        #expect(next.held.map(\.head) == [5, 3, 2, 4])
        #expect(heads(queue) == [1])
        next.releaseHeld()
        try rig.driver.wait { queue.usedCount == 4 }
        #expect(heads(queue) == [5, 3, 2, 4])
        offer(5, queue)
        queue.kick()
        try rig.driver.wait { next.held.map(\.head) == [5] }
    }

    @Test("A device that has left cannot reach the queues any more")
    func theDeviceThatLeft() throws {
        let (rig, queue) = try rig(holding: [0])
        rig.device.waitsForOutside = true
        let context = try #require(rig.device.context)
        let next = EchoDevice(queueSizes: [8])
        next.holdsRequests = true
        try rig.driver.exchangeDevice(next)
        try rig.driver.wait { next.held.count == 1 }
        let generation = rig.driver.read(.configGeneration)
        _ = context.queue(0)?.complete(0, written: 16)
        context.fail("too late")
        context.configChanged()
        rig.driver.settle()
        #expect(queue.usedCount == 0 && rig.driver.read(.configGeneration) == generation)
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
    }

    @Test("The driver cannot offer a held chain again, nor change what it names", arguments: [true, false])
    func hostileDriver(isOfferedAgain: Bool) throws {
        let (rig, queue) = try rig(holding: [0, 1])
        rig.device.waitsForOutside = true
        let next = EchoDevice(queueSizes: [8])
        next.holdsRequests = true
        try rig.driver.pause()
        if isOfferedAgain {
            offer(1, queue)
        } else {
            queue.setDescriptor(1, address: Rig.hole, count: 16, flags: DriverQueue.Flag.write)
        }
        try rig.driver.exchangeDevice(next)
        try rig.driver.wait { rig.driver.status.contains(.deviceNeedsReset) }
        #expect(next.held.map(\.head) == (isOfferedAgain ? [0, 1] : [0]))
        next.releaseHeld()
        next.holdsRequests = false
        rig.driver.write(.status, 0)
        rig.driver.nextFree = Rig.high
        let again = try rig.driver.start()[0]
        #expect(try rig.driver.exchange(on: again, readable: [[4]], writable: [1]).bytes == [4])
    }

    @Test("A reset forgets held chains")
    func resetAfterwards() throws {
        let (rig, _) = try rig(holding: [0, 1])
        rig.device.waitsForOutside = true
        let next = EchoDevice(queueSizes: [8])
        try rig.driver.exchangeDevice(next)
        rig.driver.write(.status, 0)
        rig.driver.settle()
        rig.driver.nextFree = Rig.high
        let queue = try rig.driver.start()[0]
        #expect(try rig.driver.exchange(on: queue, readable: [[4]], writable: [1]).bytes == [4])
    }
}
