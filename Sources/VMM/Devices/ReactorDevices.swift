import EventLoop
import Host
import Memory
import Platform
import Virtio

/// What one reactor keeps for the devices that live on it: their bus, and their transports by slot.
final class ReactorDevices {
    let reactor: Reactor
    let bus: Bus
    private var transports: [Int: VirtioMMIO] = [:]
    private var prepared: [Int: VirtioMMIO] = [:]

    /// What the machine needs to know of a device.
    struct Connection: Sendable {
        /// The eventfd of its interrupt.
        let interrupt: Int32
        /// The eventfd of each queue's doorbell.
        let doorbells: [Int32]
        /// The queues that a driver may have set up; whatever takes the device's place has to serve them.
        let shape: QueueShape
    }

    /// - Parameter onAction: decides about what devices ask for.
    init(_ reactor: Reactor, onAction: @escaping (BusAction) -> Void) {
        self.reactor = reactor
        bus = Bus(onAction: onAction)
    }

    /// Makes a device with registers that are not yet on the bus.
    ///
    /// - Parameter interruptStatus: the slot's; one that goes on for another device's driver gets it from there.
    func prepare(
        _ make: DeviceMaker, id: String, slot: Int, memory: GuestMemory,
        interruptStatus: InterruptStatus = InterruptStatus()
    ) throws(MachineError) -> Connection {
        let device = try make(reactor)
        do {
            let interrupt = try InterruptLine(reactor)
            let transport = try VirtioMMIO(
                device, memory: memory, reactor: reactor, interrupt: interrupt, interruptStatus: interruptStatus)
            prepared[slot] = transport
            return Connection(
                interrupt: interrupt.descriptor, doorbells: transport.doorbells, shape: device.shape)
        } catch {
            throw MachineError(id, "cannot make its eventfds: \(error)")
        }
    }

    /// Gives up what was prepared for the slot.
    func discardPrepared(_ slot: Int) {
        prepared.removeValue(forKey: slot)?.retire {}
    }

    /// Puts what was prepared for the slot on the bus, to go on for the driver that another device has left, if any.
    func enter(_ slot: Int, for driver: DriverState? = nil, isPaused: Bool = false) {
        guard let transport = prepared.removeValue(forKey: slot) else { return }
        if isPaused { transport.pause {} }
        if let driver { transport.adopt(driver) }
        let address = UInt64(MicroVM.address(ofSlot: slot))
        // Never refused: each slot has one device at a time, and slots do not overlap.
        _ = bus.attach(transport, .memory, at: address, count: UInt64(MicroVM.slotSize))
        transports[slot] = transport
    }

    /// Ends the slot's device when its requests have ended, and answers with the driver that it leaves.
    func leave(_ slot: Int, _ done: @escaping (DriverState?) -> Void) {
        guard let transport = transports[slot] else { return done(nil) }
        transport.pause { [self] in
            bus.detach(transport)
            transports[slot] = nil
            let driver = transport.handOver()
            transport.retire { done(driver) }
        }
    }

    /// The device in the slot, if it lives here.
    func device(inSlot slot: Int) -> VirtioDevice? { transports[slot]?.device }

    /// What the devices that live here tell of themselves.
    var reports: [DeviceReport] {
        transports.map { slot, transport in
            DeviceReport(slot: slot, id: transport.device.id, counters: transport.device.tally)
        }
    }

    /// Lets no device begin anything new, and calls `done` when nothing is in flight any more.
    func pause(_ done: @escaping () -> Void) {
        let countdown = Countdown(transports.count, done)
        for transport in transports.values { transport.pause { countdown.step() } }
    }

    /// Lets the devices go on.
    func resume() {
        for transport in transports.values { transport.resume() }
    }
}

/// What a device behind registers tells of itself, on its way from its reactor to the main one.
struct DeviceReport: Sendable {
    let slot: Int
    let id: String
    let counters: [DeviceCounter]
}

/// Calls a function when something has happened a number of times.
final class Countdown {
    private var left: Int
    private let done: () -> Void

    /// Calls `done` at once if `count` is 0.
    init(_ count: Int, _ done: @escaping () -> Void) {
        left = count
        self.done = done
        if count == 0 { done() }
    }

    func step() {
        left -= 1
        if left == 0 { done() }
    }
}
