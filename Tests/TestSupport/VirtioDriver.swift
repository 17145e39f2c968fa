package import Bus
package import EventLoop
import Host
package import Memory
package import Virtio

/// Plays the guest's driver to a device behind virtio-mmio: through its registers, its rings and its doorbells, and
/// in as wrong an order as a test likes.
///
/// Everything runs on the calling thread: the driver turns the device's reactor while it waits.
package final class VirtioDriver {
    package private(set) var transport: VirtioMMIO
    package let memory: GuestMemory
    /// Where the device lives.
    package private(set) var reactor: Reactor
    package let interrupt: InterruptLine
    /// What vCPUs read and acknowledge without asking the device.
    package let interruptStatus = InterruptStatus()
    /// The first address that `allocate` has not given away.
    package var nextFree: UInt64 {
        get { firstFree }
        set { firstFree = newValue }
    }
    private var firstFree: UInt64
    /// Another reactor of this thread, on which a part of the device lives.
    package var companion: Reactor?
    private let alarm = Alarm()

    /// What a driver waits for did not happen.
    package enum Failure: Error, Equatable {
        case featuresRefused
        case queueRefused(Int)
        case timedOut
        case outOfMemory
        /// The device wants to be reset.
        case stopped
    }

    /// Ends a wait that has become too long.
    private final class Alarm: RingClient {
        var time: UInt64 = 0

        // A test may make its operation end before its time.
        var hasRung: Bool { Clock.monotonic >= time }
    }

    /// Puts `device` behind registers.
    ///
    /// - Parameters:
    ///   - memory: the guest's; 4 MiB of its own, if nil.
    ///   - base: from where on the driver may lay rings and buffers.
    package init(
        _ device: VirtioDevice, memory: GuestMemory? = nil, reactor: Reactor, base: UInt64 = 0x1000
    ) throws {
        self.memory = try memory ?? GuestMemory(size: 4 << 20)
        self.reactor = reactor
        interrupt = try InterruptLine(reactor)
        transport = VirtioMMIO(
            try VirtioState(
                device, memory: self.memory, reactor: reactor,
                interrupt: VirtioInterrupt(interrupt, causes: interruptStatus)))
        firstFree = base
    }

    /// What is behind the registers.
    package var virtio: VirtioState { transport.virtio }

    /// Pauses the device, and waits until it is at rest.
    package func pause() throws {
        var isAtRest = false
        virtio.pause { isAtRest = true }
        try wait { isAtRest }
    }

    /// Puts another device behind the registers, which goes on for this driver; the one before is retired.
    ///
    /// - Parameter next: the reactor of the new device, if it is another.
    package func exchangeDevice(_ device: VirtioDevice, on next: Reactor? = nil) throws {
        try pause()
        try virtio.reserve(device.queueLimits)
        try retire()
        if let next { reactor = next }
        virtio.attachDevice(device, on: reactor)
        virtio.resume()
    }

    /// Saves the device, and goes on with another one that is made from that, as after a start from a snapshot.
    ///
    /// The doorbells are others then: queues from before are to be notified by the register.
    package func restore(to device: VirtioDevice) throws {
        try pause()
        let state = try transport.save()
        try retire()
        transport = VirtioMMIO(
            try VirtioState(
                device, memory: memory, reactor: reactor, interrupt: VirtioInterrupt(interrupt, causes: interruptStatus)
            ))
        virtio.pause {}
        try transport.restore(state)
        virtio.resume()
    }

    // MARK: Registers

    /// Reads a register.
    package func read(_ register: MMIORegister) -> UInt32 {
        UInt32(truncatingIfNeeded: transport.read(at: register.rawValue, size: 4))
    }

    /// Writes a register.
    package func write(_ register: MMIORegister, _ value: UInt32) {
        _ = transport.write(at: register.rawValue, size: 4, value: UInt64(value))
    }

    /// Reads a field of the device's own configuration.
    package func readConfig<T: FixedWidthInteger>(_ type: T.Type = T.self, at offset: UInt64) -> T {
        T(truncatingIfNeeded: transport.read(at: MMIORegister.config + offset, size: MemoryLayout<T>.size))
    }

    /// Writes a field of the device's own configuration.
    package func writeConfig<T: FixedWidthInteger>(_ value: T, at offset: UInt64) {
        _ = transport.write(
            at: MMIORegister.config + offset, size: MemoryLayout<T>.size, value: UInt64(truncatingIfNeeded: value))
    }

    package var status: DeviceStatus { DeviceStatus(rawValue: read(.status)) }

    /// Sets bits of the status, beside those that are set.
    package func addStatus(_ bits: DeviceStatus) {
        write(.status, status.union(bits).rawValue)
    }

    /// The features that the device offers.
    package var offeredFeatures: Features {
        write(.deviceFeaturesSel, 1)
        let high = UInt64(read(.deviceFeatures))
        write(.deviceFeaturesSel, 0)
        return Features(rawValue: high << 32 | UInt64(read(.deviceFeatures)))
    }

    /// Writes the driver's choice of features.
    package func chooseFeatures(_ features: Features) {
        write(.driverFeaturesSel, 0)
        write(.driverFeatures, UInt32(truncatingIfNeeded: features.rawValue))
        write(.driverFeaturesSel, 1)
        write(.driverFeatures, UInt32(truncatingIfNeeded: features.rawValue >> 32))
    }

    // MARK: Bringing a device up

    /// Resets the device and chooses `features`, or all that the device offers.
    package func negotiate(_ features: Features? = nil) throws {
        write(.status, 0)
        addStatus(.acknowledge)
        addStatus(.driver)
        chooseFeatures(features ?? offeredFeatures)
        addStatus(.featuresOK)
        guard status.contains(.featuresOK) else { throw Failure.featuresRefused }
    }

    /// Lays a queue into guest memory without telling the device.
    package func layOut(size: UInt16) throws -> QueueLayout {
        QueueLayout(
            size: size,
            descriptorTable: try allocate(QueueLayout.Part.descriptorTable.byteCount(size), alignment: 16),
            availableRing: try allocate(QueueLayout.Part.availableRing.byteCount(size), alignment: 2),
            usedRing: try allocate(QueueLayout.Part.usedRing.byteCount(size), alignment: 4))
    }

    /// Writes where a queue lies, and declares it ready.
    package func setUp(_ index: Int, _ layout: QueueLayout) {
        write(.queueSel, UInt32(truncatingIfNeeded: index))
        write(.queueNum, UInt32(layout.size))
        for (low, high, address) in [
            (MMIORegister.queueDescLow, MMIORegister.queueDescHigh, layout.descriptorTable),
            (.queueDriverLow, .queueDriverHigh, layout.availableRing),
            (.queueDeviceLow, .queueDeviceHigh, layout.usedRing),
        ] {
            write(low, UInt32(truncatingIfNeeded: address.rawValue))
            write(high, UInt32(truncatingIfNeeded: address.rawValue >> 32))
        }
        write(.queueReady, 1)
    }

    /// The driver's side of a queue whose layout the device knows, or will know.
    package func queue(_ index: Int, _ layout: QueueLayout, features: Features) throws -> DriverQueue {
        try DriverQueue(
            index, layout, features: features, memory: memory, doorbell: virtio.doorbells[index])
    }

    /// Lays a queue into guest memory and gives it to the device; of the device's maximum size, if none is given.
    package func makeQueue(_ index: Int, size: UInt16? = nil, features: Features) throws -> DriverQueue {
        write(.queueSel, UInt32(truncatingIfNeeded: index))
        let layout = try layOut(size: size ?? UInt16(truncatingIfNeeded: read(.queueNumMax)))
        setUp(index, layout)
        guard read(.queueReady) == 1 else { throw Failure.queueRefused(index) }
        return try queue(index, layout, features: features)
    }

    /// Negotiates, lays out all queues, and starts the device.
    package func start(_ features: Features? = nil, queueSize: UInt16? = nil) throws -> [DriverQueue] {
        let features = features ?? offeredFeatures
        try negotiate(features)
        let queues = try (0..<virtio.queueCount).map {
            try makeQueue($0, size: queueSize, features: features)
        }
        addStatus(.driverOK)
        return queues
    }

    /// Takes zeroed guest memory that nobody else uses.
    package func allocate(_ count: Int, alignment: UInt64 = 16) throws -> GuestAddress {
        let start = (nextFree &+ alignment &- 1) & ~(alignment &- 1)
        guard let slice = memory.slice(at: start, count: UInt64(count)) else { throw Failure.outOfMemory }
        slice.fill(0)
        nextFree = start &+ UInt64(count)
        return GuestAddress(start)
    }

    // MARK: Time

    /// Turns the reactor until `condition` holds.
    package func wait(seconds: UInt64 = 20, until condition: () throws -> Bool) throws {
        if try condition() { return }
        alarm.time = Clock.monotonic + seconds * 1_000_000_000
        var isMet = false
        while !isMet, !alarm.hasRung {
            if alarm.operationsInFlight == 0 { reactor.submit(.timeout(at: alarm.time), for: alarm) }
            turn(waiting: true)
            isMet = try condition()
        }
        reactor.cancel(tag: 0, of: alarm)
        while alarm.operationsInFlight > 0 { reactor.turn(waiting: true) }
        if !isMet { throw Failure.timedOut }
    }

    /// Turns the reactor often enough that whatever needs no outside event has happened.
    package func settle() {
        for _ in 0..<8 { turn(waiting: false) }
    }

    private func turn(waiting: Bool) {
        companion?.turn(waiting: false)
        // Neither reactor can sleep for both.
        reactor.turn(waiting: waiting && companion == nil)
    }

    /// Takes and acknowledges the interrupts since the last call.
    package func takeInterrupts() -> (count: UInt64, causes: InterruptCause) {
        reactor.turn(waiting: false)
        let causes = read(.interruptStatus)
        write(.interruptACK, causes)
        return (interrupt.takeRaised(), InterruptCause(rawValue: causes))
    }

    /// Removes the device for good, and waits until it is gone.
    package func retire() throws {
        var isDone = false
        virtio.detachDevice { isDone = true }
        try wait { isDone }
    }
}
