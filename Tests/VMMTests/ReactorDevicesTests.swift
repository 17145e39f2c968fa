import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@testable import VMM

/// A device that keeps its requests for as long as a test wants.
private final class SlowDevice: VirtioDevice {
    private(set) var heads: [(Virtqueue, UInt16)] = []
    private(set) var requests = 0
    var isSlow = false

    init(_ id: String, queueSizes: [UInt16] = [8]) {
        super.init(id: id, type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: queueSizes)
    }

    override func process(_ queue: Virtqueue) {
        while let chain = queue.next() {
            requests += 1
            heads.append((queue, chain.head))
        }
        if !isSlow { finish() }
    }

    override var isIdle: Bool { heads.isEmpty }

    func finish() {
        for (queue, head) in heads { queue.complete(head, written: 0) }
        heads = []
        operationCompleted(tag: 0, result: 0)
    }
}

/// The steps in which another device takes the place of one.
@Suite struct ReactorDevicesTests {
    private let reactor: Reactor
    private let devices: ReactorDevices
    private let device = SlowDevice("first")
    private let memory: GuestMemory
    private let ring: DriverQueue

    private static let slot = 3
    private static let layout = QueueLayout(
        size: 8, descriptorTable: GuestAddress(0x1000), availableRing: GuestAddress(0x2000),
        usedRing: GuestAddress(0x3000))

    init() throws {
        reactor = try Reactor(name: "test")
        devices = IOThreadRig.devices(reactor)
        memory = try GuestMemory(size: 64 << 10)
        let handed = SendOnce(device)
        let connection = try devices.install(
            { _, _ throws(MachineError) in try Self.taken(handed) }, id: "first", slot: Self.slot, memory: memory)
        ring = try DriverQueue(
            0, Self.layout, features: .version1, memory: memory, doorbell: connection.doorbells[0])
        start(devices)
    }

    private static func taken(_ device: SendOnce<SlowDevice>) throws(MachineError) -> VirtioDevice {
        guard let device = device.take() else { throw MachineError("device", "is attached already") }
        return device
    }

    private static func write(_ devices: ReactorDevices, _ register: MMIORegister, _ value: UInt32) {
        var access = BusAccess(isWrite: true, size: 4, offset: register.rawValue, value: UInt64(value))
        serve(&access, devices)
    }

    private static func read(_ devices: ReactorDevices, _ register: MMIORegister) -> UInt32 {
        var access = BusAccess(isWrite: false, size: 4, offset: register.rawValue)
        serve(&access, devices)
        return UInt32(truncatingIfNeeded: access.value)
    }

    /// Gives the slot's device an access as the reactor does for a vCPU.
    private static func serve(_ access: inout BusAccess, _ devices: ReactorDevices) {
        let start = devices.layout.virtio.addresses(ofSlot: slot).start
        guard let cell = devices.systemBus.snapshot.range(at: start, size: 4, in: .memory)?.cell else {
            return access.floatHigh()
        }
        devices.bus.perform(&access, on: cell)
    }

    /// Plays a driver that uses the first queue.
    private func start(_ devices: ReactorDevices) {
        for (register, value) in [
            (MMIORegister.status, 0), (.status, 1), (.status, 3), (.driverFeaturesSel, 1), (.driverFeatures, 1),
            (.status, 11), (.queueNum, 8), (.queueDescLow, 0x1000), (.queueDriverLow, 0x2000),
            (.queueDeviceLow, 0x3000), (.queueReady, 1), (.status, 15),
        ] as [(MMIORegister, UInt32)] { Self.write(devices, register, value) }
    }

    private func wait(_ condition: () -> Bool) throws {
        let end = Clock.monotonic + 20_000_000_000
        while !condition() {
            guard Clock.monotonic < end else { throw VirtioDriver.Failure.timedOut }
            reactor.turn(waiting: false)
        }
    }

    private func make(_ next: SlowDevice, on devices: ReactorDevices) throws -> QueueLimits {
        let handed = SendOnce(next)
        return try devices.make(
            { _, _ throws(MachineError) in try Self.taken(handed) }, id: next.id, slot: Self.slot,
            minimumQueues: self.devices.queuesInUse(Self.slot))
    }

    private func drain(limit: UInt64) throws -> MachineError? {
        var answer: MachineError??
        devices.drain(Self.slot, limit: limit) { answer = $0 }
        try wait { answer != nil }
        return answer ?? nil
    }

    private func detach(for next: QueueLimits) throws -> VirtioMMIO? {
        var answer: Result<VirtioMMIO?, MachineError>?
        devices.detach(Self.slot, for: next, expecting: QueueLimits(count: 1, size: 8)) { answer = $0 }
        try wait { answer != nil }
        return try answer?.get()
    }

    @Test("A device comes on another reactor, and serves the driver there")
    func swap() throws {
        #expect(devices.queuesInUse(Self.slot) == QueueLimits(count: 1, size: 8))
        let others = IOThreadRig.devices(try Reactor(name: "other"))
        let next = SlowDevice("next", queueSizes: [8, 8, 8])
        let limits = try make(next, on: others)
        #expect(try drain(limit: 10_000_000_000) == nil)
        ring.submit(0)
        let transport = try #require(try detach(for: limits))
        #expect(devices.device(inSlot: Self.slot) == nil && Self.read(devices, .magicValue) == .max)
        others.attach(Self.slot, transport, goesOn: true)
        #expect(others.device(inSlot: Self.slot) === next && Self.read(others, .status) == 15)
        others.reactor.turn(waiting: false)
        others.reactor.turn(waiting: false)
        #expect(ring.usedCount == 1 && next.requests == 1 && device.requests == 0)
        // A queue that KVM does not know of yet.
        #expect(transport.virtio.doorbells.count == 3)
    }

    @Test("A device with requests that do not end stays, and nothing is lost")
    func timedOut() throws {
        device.isSlow = true
        ring.submit(0)
        try wait { device.requests == 1 }
        let limits = try make(SlowDevice("next"), on: devices)
        #expect(limits == QueueLimits(count: 1, size: 8))
        let error = try #require(try drain(limit: 0))
        #expect("\(error)" == "first: 1 request did not end within 0 s; try again when they have")
        devices.discard(Self.slot)
        ring.submit(1)
        try wait { device.requests == 2 }
        device.finish()
        try wait { ring.usedCount == 2 }
        #expect(devices.device(inSlot: Self.slot) === device)
    }

    @Test("A device that cannot be made, or has too few queues, changes nothing")
    func notMade() throws {
        #expect(throws: MachineError.self) {
            try devices.make(
                { _, _ throws(MachineError) in throw MachineError("next", "is not there") }, id: "next",
                slot: Self.slot, minimumQueues: .none)
        }
        #expect(throws: MachineError.self) { try make(SlowDevice("next", queueSizes: [4]), on: devices) }
        #expect(throws: MachineError.self) { try make(SlowDevice("next", queueSizes: []), on: devices) }
        ring.submit(0)
        try wait { ring.usedCount == 1 }
    }

    @Test("A driver that sets the device up anew between the steps is asked once more", arguments: [true, false])
    func driverInBetween(isReset: Bool) throws {
        let limits = try make(SlowDevice("next"), on: devices)
        #expect(try drain(limit: 10_000_000_000) == nil)
        if isReset { Self.write(devices, .status, 0) }
        let transport = try detach(for: limits)
        #expect((transport == nil) == isReset)
        guard isReset else { return }
        devices.resume(Self.slot)
        start(devices)
        ring.submit(0)
        try wait { device.requests == 1 }
    }
}
