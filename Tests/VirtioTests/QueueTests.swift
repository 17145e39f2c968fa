import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite struct QueueTests {
    static let rings: [Features] = [.version1, [.version1, .ringEventIndex], [.version1, .splitRing]]

    @Test(arguments: rings, [false, true])
    func echoes(features: Features, isIndirect: Bool) throws {
        guard !isIndirect || features.contains(.ringIndirectDescriptors) else { return }
        let driver = try VirtioDriver(EchoDevice(), reactor: try Reactor(name: "test"))
        let queue = try driver.start(features)[0]
        for round in 0..<300 {
            let reply = try driver.exchange(
                on: queue, readable: [[1, 2, 3], [], [UInt8(round & 0xff)], [5]], writable: [1, 2, 0, 5],
                isIndirect: isIndirect)
            #expect(reply.written == 5)
            #expect(reply.bytes == [1, 2, 3, UInt8(round & 0xff), 5, 0xee, 0xee, 0xee])
        }
    }

    /// Indexes run through 65535 and on; every head comes back once, in any number at a time.
    @Test(arguments: rings)
    func indexesWrapAround(features: Features) throws {
        let device = EchoDevice(queueSizes: [8])
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queue = try driver.start(features)[0]
        for head in 0..<8 {
            let address = try driver.allocate(4)
            queue.setDescriptor(head, address: address.rawValue, count: 4, flags: DriverQueue.Flag.write)
        }
        var total = 0
        var batch = 1
        while total < 70_000 {
            for head in 0..<UInt16(batch) { queue.offer(head) }
            queue.publish()
            queue.kickIfWanted()
            try driver.wait { queue.usedCount == batch }
            for head in 0..<UInt32(batch) {
                #expect(queue.takeUsed() == DriverQueue.Used(head: head, written: 0))
            }
            total += batch
            batch = batch % 8 + 1
        }
        #expect(device.requests == total)
        #expect(driver.status.contains(.driverOK) && !driver.status.contains(.deviceNeedsReset))
    }

    /// A queue never hands out more than its share in a turn, and the rest follows without another kick.
    @Test func oneQueueDoesNotStarveAnother() throws {
        let device = EchoDevice(queueSizes: [1024, 8])
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queues = try driver.start()
        driver.settle()
        for head in 0..<1024 as Range<UInt16> { queues[0].offer(head) }
        queues[0].publish()
        queues[0].kick()
        var seen = 0
        try driver.wait {
            let served = device.requests - seen
            seen = device.requests
            #expect(served <= Virtqueue.chainsPerTurn)
            return queues[0].usedCount == 1024
        }
    }

    /// With event indexes an interrupt comes exactly when the used index passes what the driver asked for.
    @Test(arguments: [0, 1, 2, 6, 7, 8, 100, 0x7fff, 0x8000, 0xfffe, 0xffff] as [UInt16])
    func case22UsedEvent(event: UInt16) throws {
        let rig = try Rig()
        let queue = try rig.driver.start([.version1, .ringEventIndex])[0]
        queue.askForInterrupt(after: event)
        _ = rig.driver.takeInterrupts()
        for round in 0..<20 as Range<UInt16> {
            queue.submit(round % 8)
            try rig.driver.wait { queue.usedCount == 1 }
            _ = queue.takeUsed()
            let interrupts = rig.driver.takeInterrupts()
            #expect(interrupts.count == (round == event ? 1 : 0), "used entry \(round)")
            #expect(interrupts.causes == (round == event ? .usedBuffer : []))
        }
        try rig.expectBystanderWorks()
    }

    @Test func case22InterruptFlag() throws {
        let rig = try Rig()
        let queue = try rig.driver.start(.version1)[0]
        var random = FixedRandom(state: 22)
        for _ in 0..<100 {
            let isSuppressed = Bool.random(using: &random)
            queue.suppressInterrupts(isSuppressed)
            queue.submit(0)
            try rig.driver.wait { queue.usedCount == 1 }
            _ = queue.takeUsed()
            #expect(rig.driver.takeInterrupts().count == (isSuppressed ? 0 : 1))
        }
    }

    /// Many requests of a turn, on several queues, make one interrupt.
    @Test func interruptsAreCoalesced() throws {
        let rig = try Rig(queueSizes: [8, 8])
        let queues = try rig.driver.start(.version1)
        rig.driver.settle()
        for queue in queues {
            for head in 0..<8 as Range<UInt16> { queue.offer(head) }
            queue.publish()
        }
        for queue in queues { queue.kick() }
        try rig.driver.wait { queues.allSatisfy { $0.usedCount == 8 } }
        #expect(rig.driver.takeInterrupts().count == 1)
    }

    /// The used ring lies over the other queue's descriptors: the driver's own loss, and nobody else's.
    @Test func case23UsedRingOverDescriptorsOfAnotherQueue() throws {
        let rig = try Rig(queueSizes: [8, 8])
        try rig.driver.negotiate(.version1)
        let victim = try rig.driver.layOut(size: 8)
        var layout = try rig.driver.layOut(size: 8)
        layout.usedRing = victim.descriptorTable
        rig.driver.setUp(0, layout)
        rig.driver.setUp(1, victim)
        rig.driver.addStatus(.driverOK)
        let queues = try [
            rig.driver.queue(0, layout, features: .version1), rig.driver.queue(1, victim, features: .version1),
        ]
        let before = rig.memory.host.bytes
        for round in 0..<64 as Range<UInt16> {
            for queue in queues {
                queue.offer(round % 8)
                queue.publish()
                queue.kick()
            }
            rig.driver.settle()
        }
        let parts: [QueueLayout.Part] = [.descriptorTable, .availableRing, .usedRing]
        rig.expectOnlyChanged(
            since: before,
            in: [layout, victim].flatMap { each in parts.map { (each.address(of: $0), $0.byteCount(8)) } })
        try rig.expectBystanderWorks()
        try rig.expectWorksAfterReset()
    }

    /// 4 GiB in one chain are refused; one byte less is not.
    @Test(arguments: [(0, true), (1, false)] as [(UInt32, Bool)])
    func case18SumOfLengths(more: UInt32, isServed: Bool) throws {
        let device = EchoDevice(queueSizes: [8])
        let driver = try VirtioDriver(
            device, memory: try GuestMemory(size: 3 << 30), reactor: try Reactor(name: "test"))
        let queue = try driver.start()[0]
        queue.setDescriptor(0, address: 0, count: 3 << 30, flags: DriverQueue.Flag.next, next: 1)
        queue.setDescriptor(1, address: 0, count: (1 << 30) - 1 + more)
        queue.submit(0)
        try driver.wait { driver.status.contains(.deviceNeedsReset) || queue.usedCount == 1 }
        #expect(queue.usedCount == (isServed ? 1 : 0))
        #expect(device.bytesRead == (isServed ? Int(UInt32.max) : 0))
    }

    /// A device can neither report more bytes than there was room for, nor give back what it does not hold.
    @Test func case18UsedLengthAndUnknownHeads() throws {
        let rig = try Rig()
        let queue = try rig.driver.start()[0]
        rig.device.holdsRequests = true
        queue.setDescriptor(2, address: 0x8000, count: 10, flags: DriverQueue.Flag.write)
        queue.submit(2)
        try rig.driver.wait { rig.device.held.count == 1 }
        let held = try #require(rig.device.context?.queue(0))
        #expect(held.inFlight == 1)
        for head in [0, 1, 3, 8, 0xffff] as [UInt16] { #expect(!held.complete(head, written: 1)) }
        #expect(held.complete(2, written: .max))
        #expect(!held.complete(2, written: .max))
        #expect(held.inFlight == 0)
        rig.device.operationCompleted(tag: 0, result: 0)
        try rig.driver.wait { queue.usedCount == 1 }
        #expect(queue.takeUsed() == DriverQueue.Used(head: 2, written: 10))
        #expect(queue.usedCount == 0)
    }

    /// Requests that came before anybody listened are not forgotten.
    @Test func requestsMadeBeforeDriverOK() throws {
        let rig = try Rig()
        try rig.driver.negotiate()
        let queue = try rig.driver.makeQueue(0, features: rig.driver.offeredFeatures)
        queue.offer(0)
        queue.publish()
        rig.driver.addStatus(.driverOK)
        try rig.driver.wait { queue.usedCount == 1 }
    }

    /// The notification register works without an eventfd behind it.
    @Test func trappedNotification() throws {
        let rig = try Rig(queueSizes: [8, 8])
        let queues = try rig.driver.start()
        rig.driver.settle()
        queues[1].offer(0)
        queues[1].publish()
        rig.driver.write(.queueNotify, 1)
        try rig.driver.wait { queues[1].usedCount == 1 }
    }
}
