import Backends
import EventLoop
import Host
import Memory
import Platform
import TestSupport
import Testing
import Virtio

/// A device whose first queue is served by somebody else, who also raises the interrupts, as vhost does.
private final class OffloadedDevice: VirtioDevice {
    private(set) var context: DeviceContext?
    /// What the device was told, in order.
    private(set) var story: [String] = []
    /// The other side answers a pause by and by.
    var isBusy = false

    init() {
        super.init(id: "offloaded", type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: [8, 8])
    }

    override var interruptsDirectly: Bool { true }

    override var isIdle: Bool { !isBusy }

    override func servesQueue(_ index: Int) -> Bool { index == 1 }

    override func activate(_ context: DeviceContext) {
        self.context = context
        story.append("activate")
    }

    override func pause() { story.append("pause") }

    override func resume() { story.append("resume") }

    override func queueStopped(_ index: Int) { story.append("stopped \(index)") }

    override func cancelRequests() { story.append("cancel") }

    override func reset() {
        context = nil
        story.append("reset")
    }

    func settled() {
        isBusy = false
        operationCompleted(tag: 0, result: 0)
    }
}

@Suite struct ServedElsewhereTests {
    private let device = OffloadedDevice()
    private let driver: VirtioDriver

    init() throws {
        driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
    }

    @Test func theOtherSideGetsTheQueue() throws {
        let queues = try driver.start()
        let context = try #require(device.context)
        let ring = try #require(context.vring(0))
        #expect(
            ring.size == 8 && ring.kick == driver.transport.doorbells[0] && ring.call == driver.interrupt.descriptor)
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

    @Test func aPauseWaitsForTheOtherSide() throws {
        _ = try driver.start()
        device.isBusy = true
        var isPaused = false
        driver.transport.pause { isPaused = true }
        driver.settle()
        #expect(device.story == ["activate", "pause"] && !isPaused)
        device.settled()
        driver.settle()
        #expect(isPaused)
        driver.transport.resume()
        #expect(device.story == ["activate", "pause", "resume"])
    }

    @Test func aDeviceWithoutDriverIsNotPaused() throws {
        driver.transport.pause {}
        driver.transport.resume()
        #expect(device.story == [])
        driver.transport.pause {}
        // Its start comes in the middle of the pause.
        _ = try driver.start()
        driver.transport.resume()
        #expect(device.story == ["activate", "pause", "resume"])
    }

    @Test func aDeviceThatFailedStaysStopped() throws {
        _ = try driver.start()
        device.context?.fail("on purpose")
        driver.transport.pause {}
        driver.transport.resume()
        #expect(device.story == ["activate", "stopped 0", "stopped 1", "pause"])
        driver.write(.status, 0)
        driver.settle()
        #expect(device.story.suffix(2) == ["cancel", "reset"])
    }

    @Test func aDriverThatGivesUpStopsTheOtherSide() throws {
        _ = try driver.start()
        driver.addStatus(.failed)
        #expect(device.story == ["activate", "stopped 0", "stopped 1"])
    }

    @Test func aResetWaitsForTheOtherSide() throws {
        _ = try driver.start()
        device.isBusy = true
        driver.write(.status, 0)
        driver.settle()
        #expect(driver.status == .deviceNeedsReset && !device.story.contains("reset"))
        device.settled()
        driver.settle()
        #expect(driver.status == [] && device.story.last == "reset")
    }
}
