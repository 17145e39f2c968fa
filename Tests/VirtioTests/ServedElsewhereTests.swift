import Backends
import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Serves a queue as vhost does, and notes what it was told.
private final class FakeServer: QueueServer {
    private(set) var context: DeviceContext?
    private(set) var story: [String] = []
    /// A stop takes until `settle`.
    var isBusy = false

    var isAtRest: Bool { !isBusy }

    func start(_ queues: Range<Int>, _ context: DeviceContext) {
        self.context = context
        _ = context.interrupt(queues.lowerBound)
        story.append("start \(queues)")
    }

    func resume() { story.append("resume") }

    func stop() { story.append("stop") }

    func forget() {
        context = nil
        story.append("forget")
    }

    func settle() {
        isBusy = false
        context?.serverIsAtRest()
    }
}

/// A device that leaves its first queue to a server.
private final class OffloadedDevice: VirtioDevice {
    let server = FakeServer()
    private(set) var context: DeviceContext?

    init() {
        super.init(id: "offloaded", type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: [8, 8])
    }

    override func activate(_ context: DeviceContext) {
        self.context = context
        context.offload(0..<1, to: server)
    }

    override func reset() { context = nil }
}

@Suite struct ServedElsewhereTests {
    private let device = OffloadedDevice()
    private let driver: VirtioDriver

    private var story: [String] { device.server.story }

    init() throws {
        driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
    }

    @Test func theOtherSideGetsTheQueue() throws {
        let queues = try driver.start()
        let context = try #require(device.context)
        let ring = try #require(context.vring(0))
        #expect(
            ring.size == 8 && ring.kick == driver.virtio.doorbells[0] && ring.call == driver.interrupt.descriptor)
        for (slice, part) in [(ring.descriptors, queues[0].descriptors), (ring.available, queues[0].available)] {
            #expect(slice.address == part.address && slice.count == part.count)
        }
        #expect(ring.used.address == queues[0].used.address)
        queues[0].used.store(UInt16(7), at: 2)
        #expect(ring.usedIndex == 7)
        #expect(context.vring(2) == nil && context.vring(-1) == nil)
    }

    @Test func aQueueGoesOnWhereTheOtherSideLeftIt() throws {
        let queue = try driver.start()[0]
        for head in 0..<3 as Range<UInt16> { queue.offer(head) }
        queue.publish()
        let served = try #require(device.context?.queue(0))
        queue.setChain([.init(GuestAddress(0x1000), 1)], head: 2)
        served.goOn(at: 2)
        #expect(device.context?.vring(0)?.base == 2)
        #expect(served.next()?.head == 2)
        #expect(served.next() == nil)
        served.goOn(at: 1)
        #expect(served.position == 3, "a request is in flight")
        served.complete(2, written: 0)
        _ = served.publish()
        #expect(queue.usedIndex == 3)
    }

    @Test func everyInterruptOfARunningDeviceTellsOfUsedBuffers() throws {
        #expect(driver.read(.interruptStatus) == 0)
        _ = try driver.start()
        for _ in 0..<2 {
            #expect(driver.read(.interruptStatus) == 1)
            driver.write(.interruptACK, 1)
        }
        device.context?.configChanged()
        #expect(driver.read(.interruptStatus) == 3)
        driver.write(.interruptACK, 3)
        #expect(driver.read(.interruptStatus) == 1)
        driver.write(.status, 0)
        #expect(driver.read(.interruptStatus) == 0)
    }

    /// What a server raised last may not have been seen when another device comes.
    @Test func aUsedBufferOutlivesTheServer() throws {
        _ = try driver.start()
        try driver.exchangeDevice(OffloadedDevice())
        #expect(driver.interruptStatus.value == 3)
        try driver.exchangeDevice(EchoDevice(queueSizes: [8, 8]))
        #expect(driver.interruptStatus.value == 3)
        driver.write(.interruptACK, 3)
        #expect(driver.interruptStatus.value == 0, "the new device raises its interrupts itself")
    }

    @Test func aPauseWaitsForTheOtherSide() throws {
        _ = try driver.start()
        device.server.isBusy = true
        var isPaused = false
        driver.virtio.pause { isPaused = true }
        driver.settle()
        #expect(story == ["start 0..<1", "resume", "stop"] && !isPaused && !driver.virtio.isAtRest)
        device.server.settle()
        driver.settle()
        #expect(isPaused && driver.virtio.isAtRest)
        driver.virtio.resume()
        #expect(story == ["start 0..<1", "resume", "stop", "resume"])
    }

    @Test func aDeviceWithoutDriverIsNotPaused() throws {
        driver.virtio.pause {}
        driver.virtio.resume()
        #expect(story == [])
        driver.virtio.pause {}
        // Its start comes in the middle of the pause.
        _ = try driver.start()
        #expect(story == ["start 0..<1"])
        driver.virtio.resume()
        #expect(story == ["start 0..<1", "resume"])
    }

    @Test func aDeviceThatFailedStaysStopped() throws {
        _ = try driver.start()
        device.context?.fail("on purpose")
        driver.virtio.pause {}
        driver.virtio.resume()
        #expect(story.filter { $0 == "resume" }.count == 1 && story.contains("stop"))
        driver.write(.status, 0)
        driver.settle()
        #expect(story.last == "forget")
        _ = try driver.start()
        #expect(story.suffix(2) == ["start 0..<1", "resume"])
    }

    @Test func aDriverThatGivesUpStopsTheOtherSide() throws {
        _ = try driver.start()
        driver.addStatus(.failed)
        #expect(story.last == "stop")
    }

    @Test func aResetWaitsForTheOtherSide() throws {
        _ = try driver.start()
        device.server.isBusy = true
        driver.write(.status, 0)
        driver.settle()
        #expect(driver.status == .deviceNeedsReset && !story.contains("forget"))
        device.server.settle()
        driver.settle()
        #expect(driver.status == [] && story.last == "forget")
    }
}
