import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Negotiation by numbers and values, as any transport's registers do it.
@Suite struct VirtioStateTests {
    private let reactor: Reactor
    private let memory: GuestMemory
    private let device = EchoDevice(queueSizes: [8, 4])
    private let line: InterruptLine
    private let virtio: VirtioState

    private static let offered = Features.splitRing.union(.version1)

    init() throws {
        reactor = try Reactor(name: "test")
        memory = try GuestMemory(size: 64 << 10)
        line = try InterruptLine(reactor)
        virtio = try VirtioState(device, memory: memory, reactor: reactor, interrupt: VirtioInterrupt(line))
    }

    private func set(_ bits: DeviceStatus) {
        virtio.writeStatus(virtio.visibleStatus.union(bits).rawValue)
    }

    private func negotiate(_ features: Features = offered) {
        virtio.writeStatus(0)
        set(.acknowledge)
        set(.driver)
        for word in 0..<2 as Range<UInt32> {
            virtio.chooseFeatures(word: word, UInt32(truncatingIfNeeded: features.rawValue >> UInt64(32 * word)))
        }
        set(.featuresOK)
    }

    private func setUp(_ index: Int, size: UInt32 = 4) {
        virtio.setSize(ofQueue: index, size)
        let start = UInt64(0x1000 * (index + 1))
        virtio.setAddress(of: .descriptorTable, ofQueue: index, start)
        virtio.setAddress(of: .availableRing, ofQueue: index, start + 0x400)
        virtio.setAddress(of: .usedRing, ofQueue: index, start + 0x800)
        virtio.setQueueReady(index, true)
    }

    @Test("A driver that keeps the order gets its device, and what it wrote can be read")
    func goodDriver() {
        #expect(virtio.queueCount == 2 && virtio.maximumSize(ofQueue: 1) == 4 && virtio.doorbells.count == 2)
        negotiate()
        #expect(virtio.chosenFeatures(word: 0) == UInt32(truncatingIfNeeded: Self.offered.rawValue))
        #expect(virtio.chosenFeatures(word: 1) == virtio.offeredFeatures(word: 1))
        setUp(0, size: 8)
        setUp(1)
        #expect(virtio.size(ofQueue: 0) == 8 && virtio.address(of: .usedRing, ofQueue: 1) == 0x2800)
        #expect(virtio.isQueueReady(0) && virtio.isQueueReady(1))
        #expect(virtio.queuesInUse == QueueLimits(count: 2, size: 8))
        set(.driverOK)
        #expect(virtio.visibleStatus == [.acknowledge, .driver, .featuresOK, .driverOK])
        #expect(device.context?.features == Self.offered && device.context?.queue(1)?.size == 4)
    }

    @Test("Nothing can be set up out of order")
    func order() {
        setUp(0)
        virtio.chooseFeatures(word: 0, .max)
        #expect(virtio.size(ofQueue: 0) == 0 && virtio.address(of: .usedRing, ofQueue: 0) == 0)
        #expect(!virtio.isQueueReady(0) && virtio.chosenFeatures(word: 0) == 0)
        negotiate()
        virtio.chooseFeatures(word: 0, 0)
        #expect(virtio.chosenFeatures(word: 0) != 0, "they are agreed")
        setUp(0)
        virtio.setSize(ofQueue: 0, 2)
        virtio.setAddress(of: .usedRing, ofQueue: 0, 0)
        #expect(virtio.size(ofQueue: 0) == 4 && virtio.address(of: .usedRing, ofQueue: 0) == 0x1800, "it is ready")
        virtio.setQueueReady(0, false)
        virtio.setSize(ofQueue: 0, 2)
        #expect(virtio.size(ofQueue: 0) == 2)
        virtio.writeStatus(0)
        #expect(virtio.queuesInUse == .none && virtio.chosenFeatures(word: 1) == 0)
    }

    @Test(
        "Queues and words of features that there are not",
        arguments: [2, 63, 64, 65, 0xffff_ffff, Int.max, -1, Int.min])
    func numbersOutOfRange(index: Int) {
        negotiate()
        setUp(0)
        for isRunning in [false, true] {
            if isRunning { set(.driverOK) }
            virtio.setSize(ofQueue: index, 4)
            virtio.setAddress(of: .usedRing, ofQueue: index, 0x3000)
            virtio.setQueueReady(index, true)
            #expect(virtio.size(ofQueue: index) == 0 && virtio.maximumSize(ofQueue: index) == 0)
            #expect(virtio.address(of: .usedRing, ofQueue: index) == 0 && !virtio.isQueueReady(index))
            virtio.setQueueReady(index, false)
            virtio.notify(queue: index)
        }
        let word = UInt32(truncatingIfNeeded: index) | 2
        virtio.chooseFeatures(word: word, .max)
        #expect(virtio.offeredFeatures(word: word) == 0 && virtio.chosenFeatures(word: word) == 0)
        #expect(virtio.queuesInUse == QueueLimits(count: 1, size: 4))
    }

    @Test("A driver that negotiates with one device and starts with the next gets what both have")
    func replacedBeforeTheStart() throws {
        negotiate()
        setUp(0)
        let generation = virtio.configGeneration
        let next = EchoDevice(features: .ringEventIndex, queueSizes: [8])
        virtio.pause {}
        virtio.detachDevice {}
        reactor.turn(waiting: false)
        #expect(virtio.device == nil && virtio.readConfig(at: 0, size: 8) == 0)
        virtio.attachDevice(next, on: reactor)
        virtio.resume()
        #expect(virtio.configGeneration == generation + 1 && virtio.queueCount == 1)
        #expect(virtio.interrupt.pending.isEmpty, "no driver listens yet")
        set(.driverOK)
        #expect(next.context?.features == [.version1, .ringEventIndex])
        #expect(next.context?.queue(0)?.size == 4)
    }
}
