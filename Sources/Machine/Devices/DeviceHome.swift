import EventLoop
import Host
import Memory
import Platform
import Virtio

/// What one reactor keeps for the devices that live on it: their bus, and their transports by slot.
final class DeviceHome {
    let reactor: Reactor
    let bus: Bus
    private var transports: [Int: VirtioMMIO] = [:]

    /// What KVM needs to know of a device.
    struct Connection: Sendable {
        /// The eventfd of its interrupt.
        let interrupt: Int32
        /// The eventfd of each queue's doorbell.
        let doorbells: [Int32]
    }

    /// - Parameter onAction: decides about what devices ask for.
    init(_ reactor: Reactor, onAction: @escaping (BusAction) -> Void) {
        self.reactor = reactor
        bus = Bus(onAction: onAction)
    }

    /// Gives a device the registers of `slot`.
    func attach(
        _ device: VirtioDevice, id: String, slot: Int, memory: GuestMemory
    ) throws(MachineError) -> Connection {
        do {
            let interrupt = try InterruptLine(reactor)
            let transport = try VirtioMMIO(device, memory: memory, reactor: reactor, interrupt: interrupt)
            let address = UInt64(MicroVM.address(ofSlot: slot))
            guard bus.attach(transport, .memory, at: address, count: UInt64(MicroVM.slotSize)) else {
                throw MachineError(id, "slot \(slot) is occupied")
            }
            transports[slot] = transport
            return Connection(interrupt: interrupt.descriptor, doorbells: transport.doorbells)
        } catch let error as MachineError {
            throw error
        } catch {
            throw MachineError(id, "cannot make its eventfds: \(error)")
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
