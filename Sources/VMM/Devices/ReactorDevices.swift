import Bus
import EventLoop
import Host
import Memory
import Virtio

/// What one reactor keeps for the devices that live on it: their bus, and their registers by slot.
///
/// Another device takes the place of one in these steps, each on the reactor that it is about:
///
///     queuesInUse ─ make ─ drain ─ (vCPUs stop) ─ detach ─ attach ─ (vCPUs go on)
///                            └─────── failed ───────┴─ resume ─ discard: nothing has changed
final class ReactorDevices {
    let reactor: Reactor
    let bus: ReactorBus
    /// The bus of all reactors.
    let systemBus: SystemBus
    let layout: BoardLayout
    private var transports: [Int: VirtioMMIO] = [:]
    /// Devices that are not attached yet.
    private var made: [Int: VirtioDevice] = [:]

    /// What KVM needs to know of a device.
    struct Connection: Sendable {
        /// The eventfd of its interrupt.
        let interrupt: Int32
        /// The eventfd of each queue's doorbell.
        let doorbells: [Int32]
    }

    /// - Parameter onAction: decides about what devices ask for.
    init(_ reactor: Reactor, _ bus: SystemBus, _ layout: BoardLayout, onAction: @escaping (BusAction) -> Void) {
        self.reactor = reactor
        systemBus = bus
        self.bus = ReactorBus(reactor, bus, onAction: onAction)
        self.layout = layout
    }

    /// Makes a device, and gives it the slot's registers; before the machine runs.
    func install(
        _ make: DeviceMaker, id: String, slot: Int, memory: GuestMemory
    ) throws(MachineError) -> Connection {
        let device = try make(reactor, .none)
        do {
            let line = try InterruptLine(reactor)
            let virtio = try VirtioState(
                device, memory: memory, reactor: reactor, interrupt: VirtioInterrupt(line))
            connect(VirtioMMIO(virtio), slot)
            return Connection(interrupt: line.descriptor, doorbells: virtio.doorbells)
        } catch {
            throw MachineError(id, "cannot make its eventfds: \(error)")
        }
    }

    private func connect(_ transport: VirtioMMIO, _ slot: Int) {
        // Never refused: each slot has one device at a time, and slots do not overlap.
        _ = bus.attach(transport, at: layout.virtio.addresses(ofSlot: slot), published: transport.published)
        transports[slot] = transport
    }

    // MARK: Another device

    /// The queues that the slot's driver has set up.
    func queuesInUse(_ slot: Int) -> QueueLimits { transports[slot]?.virtio.queuesInUse ?? .none }

    /// Makes a device for the slot, with queues for its driver.
    func make(
        _ make: DeviceMaker, id: String, slot: Int, minimumQueues: QueueLimits
    ) throws(MachineError) -> QueueLimits {
        let device = try make(reactor, minimumQueues)
        guard device.queueLimits.holds(minimumQueues) else {
            throw MachineError(id, "has \(device.queueLimits), and the slot's driver uses \(minimumQueues)")
        }
        made[slot] = device
        return device.queueLimits
    }

    /// Gives up the device that was made for the slot.
    func discard(_ slot: Int) {
        if let device = made.removeValue(forKey: slot) { reactor.retire(device) }
    }

    /// Lets the slot's device begin nothing new, and calls `done` when nothing is in flight, or with what is after
    /// `limit` nanoseconds: then the device goes on.
    func drain(_ slot: Int, limit: UInt64, _ done: @escaping (MachineError?) -> Void) {
        guard let transport = transports[slot] else { return done(Self.isElsewhere(slot)) }
        let id = transport.virtio.device?.id ?? "slot \(slot)"
        transport.virtio.drain(until: Clock.monotonic &+ limit) { inFlight in
            done(
                inFlight.map { inFlight in
                    MachineError(
                        id, "\(inFlight) did not end within \(limit / 1_000_000_000) s; try again when they have")
                })
        }
    }

    /// Lets the slot's device go on.
    func resume(_ slot: Int) { transports[slot]?.virtio.resume() }

    /// Ends the slot's device, which is drained, and answers with its registers, which keep the driver; while no vCPU
    /// runs. On any other answer the device is still there, paused.
    ///
    /// - Parameters:
    ///   - next: what the next device offers.
    ///   - expected: what the driver had set up when that was made.
    ///   - done: gets nil if the driver has reset the device or set up other queues since.
    func detach(
        _ slot: Int, for next: QueueLimits, expecting expected: QueueLimits,
        _ done: @escaping (Result<VirtioMMIO?, MachineError>) -> Void
    ) {
        guard let transport = transports[slot] else { return done(.failure(Self.isElsewhere(slot))) }
        guard transport.virtio.isAtRest, transport.virtio.queuesInUse == expected else { return done(.success(nil)) }
        do throws(Errno) {
            try transport.virtio.reserve(next)
        } catch {
            return done(.failure(MachineError("slot \(slot)", "cannot make the next device's eventfds: \(error)")))
        }
        bus.detach(transport)
        transports[slot] = nil
        transport.virtio.detachDevice { done(.success(transport)) }
    }

    /// Puts registers into the slot, with the device that was made for it; while no vCPU runs.
    ///
    /// - Parameter goesOn: whether the device begins at once, rather than with all others.
    func attach(_ slot: Int, _ transport: VirtioMMIO, goesOn: Bool) {
        guard let device = made.removeValue(forKey: slot) else { return }
        transport.virtio.attachDevice(device, on: reactor)
        connect(transport, slot)
        if goesOn { transport.virtio.resume() }
    }

    private static func isElsewhere(_ slot: Int) -> MachineError {
        MachineError("slot \(slot)", "its device lives on another thread")
    }

    // MARK: All devices

    /// The device in the slot, if it lives here.
    func device(inSlot slot: Int) -> VirtioDevice? { transports[slot]?.virtio.device }

    /// What the devices that live here tell of themselves.
    var reports: [DeviceReport] {
        transports.compactMap { slot, transport in
            transport.virtio.device.map { DeviceReport(slot: slot, id: $0.id, counters: $0.counters) }
        }
    }

    /// Lets no device begin anything new, and calls `done` when nothing is in flight any more.
    func pause(_ done: @escaping () -> Void) {
        let join = Join(transports.count, done)
        for transport in transports.values { transport.virtio.pause { join.step() } }
    }

    /// Lets the devices go on.
    func resume() {
        for transport in transports.values { transport.virtio.resume() }
    }
}

/// What a device behind registers tells of itself, on its way from its reactor to the main one.
struct DeviceReport: Sendable {
    let slot: Int
    let id: String
    let counters: [DeviceCounter]
}
