import EventLoop
import Host
import TestSupport
import Testing
import Virtio

/// Does nothing with the queue that it is left.
private final class IdleServer: QueueServer {
    var isAtRest: Bool { true }

    func start(_ queues: Range<Int>, _ context: DeviceContext) {}

    func resume() {}

    func stop() {}

    func forget() {}
}

/// A device that leaves its second queue to a server, and takes one request of the first at a time.
private final class SharedDevice: VirtioDevice {
    private(set) var context: DeviceContext?
    private(set) var processed: [Int] = []

    init() {
        super.init(id: "shared", type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: [8, 8])
    }

    override func activate(_ context: DeviceContext) {
        self.context = context
        context.offload(1..<2, to: IdleServer())
    }

    override func process(_ queue: Virtqueue) {
        processed.append(queue.index)
        if let chain = queue.next() { queue.complete(chain.head, written: 0) }
    }

    override func reset() { context = nil }
}

@Suite struct DeviceContextTests {
    @Test func aQueueThatSomebodyElseServes() throws {
        let device = SharedDevice()
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queues = try driver.start()
        let context = try #require(device.context)
        #expect(context.queue(1)?.layout == queues[1].layout)
        #expect(context.doorbell(1) == driver.virtio.doorbells[1])
        #expect(context.doorbell(2) == nil && context.doorbell(-1) == nil && context.queue(2) == nil)
        #expect(context.features == driver.offeredFeatures)

        let other = try FileDescriptor(duplicating: driver.virtio.doorbells[1])
        queues[1].submit(0)
        driver.write(.queueNotify, 1)
        driver.settle()
        #expect(!device.processed.contains(1))
        #expect(try other.read(count: 8) == [2, 0, 0, 0, 0, 0, 0, 0], "both notifications wait for the other side")

        _ = driver.takeInterrupts()
        driver.write(.status, 0)
        context.configChanged()
        #expect(driver.takeInterrupts().count == 0, "a device that was reset is silent")
    }

    @Test func aDeviceThatStopsEarlyIsCalledAgainWhenItAsks() throws {
        let device = SharedDevice()
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queue = try driver.start()[0]
        driver.settle()
        for head in 0..<3 as Range<UInt16> { queue.offer(head) }
        queue.publish()
        queue.kick()
        for done in 1...3 {
            try driver.wait { queue.usedCount == done }
            driver.settle()
            #expect(queue.usedCount == done)
            device.context?.queue(0).map { device.context?.resume($0) }
        }
    }

    @Test func aDeviceWithMoreQueuesThanAWorkerServesIsRefused() throws {
        let device = EchoDevice(queueSizes: [UInt16](repeating: 8, count: 65))
        #expect(throws: Errno.invalidArgument) {
            _ = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        }
    }
}
