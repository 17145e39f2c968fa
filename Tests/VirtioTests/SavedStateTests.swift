import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Registers and device as a value, of which another device is made.
@Suite struct SavedStateTests {
    private let rig: Rig
    private let queues: [DriverQueue]

    init() throws {
        rig = try Rig(queueSizes: [8, 8, 8])
        try rig.driver.negotiate()
        let driver = rig.driver
        queues = try (0..<2).map { try driver.makeQueue($0, features: driver.offeredFeatures) }
        rig.driver.write(.queueSel, 2)
        rig.driver.write(.queueNum, 5)
        rig.driver.addStatus(.driverOK)
        rig.driver.write(.deviceFeaturesSel, 1)
    }

    /// A device that another one's state is to be put into.
    private func fresh(_ device: VirtioDevice) throws -> VirtioMMIO {
        let transport = VirtioMMIO(
            try VirtioState(
                device, memory: rig.memory, reactor: rig.reactor,
                interrupt: VirtioInterrupt(try InterruptLine(rig.reactor))))
        transport.virtio.pause {}
        return transport
    }

    private func saved() throws -> VirtioMMIO.State {
        try rig.driver.pause()
        return try rig.driver.transport.save()
    }

    @Test("A device goes on where another was saved, with the chains that it held")
    func goesOn() throws {
        rig.device.holdsRequests = true
        rig.device.waitsForOutside = true
        for head in [4, 2] as [UInt16] {
            queues[1].setDescriptor(Int(head), address: 0x8000, count: 16, flags: DriverQueue.Flag.write)
            queues[1].submit(head)
        }
        try rig.driver.wait { rig.device.held.count == 2 }
        rig.device.context?.configChanged()
        let state = try saved()
        #expect(state.selectors.queue == 2 && state.selectors.deviceFeatures == 1)
        #expect(state.virtio.queues[2].size == 5 && state.virtio.queues[2].ring == nil)
        #expect(state.virtio.queues[1].ring == Virtqueue.State(nextAvailable: 2, nextUsed: 0, heldHeads: [4, 2]))
        #expect(state.virtio.interruptCauses == .configurationChange)

        let next = EchoDevice(queueSizes: [8, 8, 8])
        next.holdsRequests = true
        try rig.driver.restore(to: next)
        try rig.driver.pause()
        #expect(try rig.driver.transport.save() == state)
        rig.driver.virtio.resume()
        try rig.driver.wait { next.held.count == 2 }
        #expect(next.held.map(\.head) == [4, 2] && next.context?.features == rig.driver.offeredFeatures)
        next.releaseHeld()
        try rig.driver.wait { queues[1].usedCount == 2 }
        queues[0].submit(0)
        rig.driver.write(.queueNotify, 0)
        try rig.driver.wait { next.held.count == 1 }
    }

    @Test("The interrupt of what the driver has not acknowledged is raised once more, when the device goes on")
    func owedInterrupt() throws {
        rig.device.context?.configChanged()
        _ = rig.driver.interrupt.takeRaised()
        try rig.driver.restore(to: EchoDevice(queueSizes: [8, 8, 8]))
        let interrupts = rig.driver.takeInterrupts()
        #expect(interrupts.count >= 1 && interrupts.causes == .configurationChange)
    }

    @Test("A device that has stopped is restored as that, and comes back with a reset")
    func broken() throws {
        rig.device.context?.fail("on purpose")
        let next = EchoDevice(queueSizes: [8, 8, 8])
        try rig.driver.restore(to: next)
        #expect(rig.driver.status.contains(.deviceNeedsReset) && next.context == nil)
        rig.driver.nextFree = Rig.high
        let queue = try rig.driver.start()[0]
        #expect(try rig.driver.exchange(on: queue, readable: [[4]], writable: [1]).bytes == [4])
    }

    @Test("A queue that the driver took out of use stays so")
    func disabled() throws {
        rig.driver.write(.queueSel, 0)
        rig.driver.write(.queueReady, 0)
        let next = EchoDevice(queueSizes: [8, 8, 8])
        try rig.driver.restore(to: next)
        #expect(rig.driver.read(.queueReady) == 0)
        for queue in queues { queue.submit(0) }
        try rig.driver.wait { queues[1].usedCount == 1 }
        #expect(queues[0].usedCount == 0)
    }

    @Test("Only a device at rest is saved, and only a new one restored")
    func notAtRest() throws {
        #expect(throws: StateError.self) { try rig.driver.transport.save() }
        rig.device.holdsRequests = true
        queues[0].submit(0)
        try rig.driver.wait { rig.device.held.count == 1 }
        rig.driver.virtio.pause {}
        #expect(throws: StateError.self) { try rig.driver.transport.save() }
        rig.device.releaseHeld()
        let state = try saved()
        #expect(throws: StateError.self) { try rig.driver.transport.restore(state) }
        #expect(throws: StateError.self) {
            let other = try fresh(EchoDevice(queueSizes: [8, 8, 8]))
            other.virtio.resume()
            try other.restore(state)
        }
    }

    static let hostile: [(String, @Sendable (inout VirtioState.State) -> Void)] = [
        ("an unknown status bit", { $0.status.insert(DeviceStatus(rawValue: 0x10)) }),
        ("a high status bit", { $0.status.insert(DeviceStatus(rawValue: 1 << 31)) }),
        ("running without features", { $0.status.remove(.featuresOK) }),
        ("features without a driver", { $0.status.remove(.driver) }),
        ("a driver that has not acknowledged", { $0.status.remove(.acknowledge) }),
        ("queues without features", { $0.status = [.acknowledge, .driver] }),
        ("a legacy driver", { $0.driverFeatures = 0 }),
        ("an unknown cause", { $0.interruptCauses = InterruptCause(rawValue: 4) }),
        ("too many queues", { state in state.queues += (0..<62).map { _ in state.queues[2] } }),
        ("more queues than the device", { $0.queues.append($0.queues[0]) }),
        ("a queue larger than the device's", { $0.queues[0].size = 16 }),
        ("a queue without size", { $0.queues[0].size = 0 }),
        ("no power of two", { $0.queues[0].size = 7 }),
        ("a size beyond 16 bits", { $0.queues[0].size = 0x10008 }),
        ("a ring outside memory", { $0.queues[0].usedRing = Rig.hole }),
        ("a ring at the end", { $0.queues[0].descriptorTable = UInt64.max - 15 }),
        ("a crooked ring", { $0.queues[0].availableRing += 1 }),
        ("ready and refused", { $0.queues[0].isRefused = true }),
        ("running with a refused queue", { $0.queues[2].isRefused = true }),
        ("out of use and not ready", { $0.queues[2].isDisabled = true }),
        ("out of use and running", { $0.queues[0].isDisabled = true }),
        ("used ahead of available", { $0.queues[0].ring?.nextUsed = 1 }),
        ("a held head outside", { $0.queues[0].ring = .init(nextAvailable: 1, nextUsed: 0, heldHeads: [8]) }),
    ]

    @Test("States that no device can have are refused, and leave the device as it was", arguments: hostile.indices)
    func hostileStates(row: Int) throws {
        let (name, change) = Self.hostile[row]
        var state = try saved()
        change(&state.virtio)
        let device = EchoDevice(queueSizes: [8, 8, 8])
        let other = try fresh(device)
        #expect(throws: StateError.self, "\(name)") { try other.restore(state) }
        #expect(device.context == nil && other.virtio.visibleStatus == [] && other.virtio.queuesInUse == .none)
        try other.restore(try saved())
        #expect(device.context != nil)
    }
}
