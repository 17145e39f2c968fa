package import EventLoop
package import Host
import Synchronization

/// Tells a vCPU's thread who answers an access. All threads read it, without a lock.
///
/// Ports are the main reactor's. The window of virtio-mmio devices has slots of equal size, each of which may be
/// another reactor's; which one may change while the machine runs.
package final class AccessRouter: Sendable {
    /// Who answers an access.
    package enum Answer {
        /// A device of this reactor.
        case reactor(ReactorHandle)
        /// A device of this reactor, which the vCPU need not wait for.
        case posted(ReactorHandle)
        /// Nobody is asked: a read gives this value, a write is dropped.
        case nobody(UInt64)
    }

    /// The most virtio-mmio devices the window holds.
    package static let maximumSlots = 32

    private let main: ReactorHandle
    // The main reactor first; places of iothreads behind it. A lock each, which is never fought for: a place changes
    // only while no slot has it as its owner.
    private let reactors: [Place]
    private let ports: [ClosedRange<UInt16>]
    private let serial: SerialPorts?
    private let window: Range<UInt64>
    private let slotSize: UInt64
    private let interruptRegisters: InterruptRegisters?
    private let interruptStatuses: [InterruptStatus]
    private let owners: Owners

    private final class Place: Sendable {
        let reactor: Mutex<ReactorHandle?>

        init(_ reactor: ReactorHandle?) {
            self.reactor = Mutex(reactor)
        }

        var current: ReactorHandle? { reactor.withLock { $0 } }
    }

    /// The most reactors there can be beside the main one.
    private static let maximumIOThreads = 14

    /// The reactor of each slot, by its index plus one; zero where there is no device.
    private struct Owners: ~Copyable, Sendable {
        let low = Atomic<UInt64>(0)
        let high = Atomic<UInt64>(0)
    }

    /// A serial port's ports: transmitted bytes need not be waited for, and some registers need not be asked for.
    package struct SerialPorts: Sendable {
        package let first: UInt16
        package let registers: PublishedRegisters

        package init(first: UInt16, registers: PublishedRegisters) {
            self.first = first
            self.registers = registers
        }
    }

    /// Where in its slot a device tells why it interrupts, and where it is told that the driver knows; four bytes each.
    package struct InterruptRegisters: Sendable {
        package let status: UInt64
        package let acknowledge: UInt64

        package init(status: UInt64, acknowledge: UInt64) {
            self.status = status
            self.acknowledge = acknowledge
        }
    }

    /// - Parameters:
    ///   - main: the reactor that owns the ports.
    ///   - iothreads: the further reactors, at most 14.
    ///   - ports: the port ranges that devices own.
    ///   - serial: the serial port, if there is one.
    ///   - window: where the memory slots begin, and the size of each in bytes.
    ///   - interruptRegisters: those that `interruptStatus(ofSlot:)` has; the devices are asked for them if nil.
    package init(
        main: ReactorHandle, iothreads: [ReactorHandle], ports: [ClosedRange<UInt16>], serial: SerialPorts?,
        window: UInt64, slotSize: UInt64, interruptRegisters: InterruptRegisters? = nil
    ) {
        self.main = main
        let given: [ReactorHandle?] = [main] + Array(iothreads.prefix(Self.maximumIOThreads))
        let free = [ReactorHandle?](repeating: nil, count: 1 + Self.maximumIOThreads - given.count)
        reactors = (given + free).map(Place.init)
        self.ports = ports
        self.serial = serial
        self.window = window..<(window &+ slotSize &* UInt64(Self.maximumSlots))
        self.slotSize = slotSize
        self.interruptRegisters = interruptRegisters
        interruptStatuses = (0..<Self.maximumSlots).map { _ in InterruptStatus() }
        owners = Owners()
    }

    /// Lets slots be given to one more reactor; false if there are too many.
    package func add(_ reactor: ReactorHandle) -> Bool {
        guard let place = reactors.first(where: { $0.current == nil }) else { return false }
        place.reactor.withLock { $0 = reactor }
        return true
    }

    /// Forgets a reactor that has no slot any more.
    package func remove(_ reactor: ReactorHandle) {
        reactors.first { $0.current === reactor }?.reactor.withLock { $0 = nil }
    }

    /// Gives the slot to a device of `reactor`, or to nobody.
    package func setOwner(ofSlot slot: Int, _ reactor: ReactorHandle?) {
        guard (0..<Self.maximumSlots).contains(slot) else { return }
        let owner =
            reactor.flatMap { wanted in reactors.firstIndex { $0.current === wanted } }.map { UInt64($0) + 1 } ?? 0
        let shift = UInt64(slot % 16 * 4)
        func update(_ word: borrowing Atomic<UInt64>) {
            let old = word.load(ordering: .relaxed)
            word.store(old & ~(0xf << shift) | owner << shift, ordering: .releasing)
        }
        if slot < 16 { update(owners.low) } else { update(owners.high) }
    }

    /// Where whoever is in the slot keeps the causes of its interrupt; of a slot that there is not, nobody reads it.
    package func interruptStatus(ofSlot slot: Int) -> InterruptStatus {
        interruptStatuses.indices.contains(slot) ? interruptStatuses[slot] : InterruptStatus()
    }

    /// Who answers a port access.
    package func answer(port: UInt16, isWrite: Bool, size: UInt8) -> Answer {
        if let serial, port >= serial.first, size == 1 {
            if isWrite {
                if port == serial.first { return .posted(main) }
            } else if let value = serial.registers.load(Int(port - serial.first)) {
                return .nobody(UInt64(value))
            }
        }
        for range in ports where range.contains(port) { return .reactor(main) }
        // Old kernels calibrate against the timer's output bit in this port, and would wait for ever for it.
        if port == 0x61 { return .nobody(0x20) }
        // There is no real-time clock. All ones would be one whose update never ends, for which drivers wait seconds;
        // zeroes are one that they leave at once.
        if port == 0x70 || port == 0x71 { return .nobody(0) }
        return .nobody(.max)
    }

    /// Who answers a memory access.
    package func answer(address: UInt64) -> Answer {
        guard window.contains(address) else { return .nobody(.max) }
        let owner = owner(ofSlot: (address - window.lowerBound) / slotSize)
        guard owner > 0, let reactor = reactors[owner - 1].current else { return .nobody(.max) }
        return .reactor(reactor)
    }

    /// What a memory access reads or acknowledges, if that is all it does: then nobody needs to be asked.
    package func interruptStatus(address: UInt64, isWrite: Bool, size: UInt8) -> InterruptStatus? {
        guard let interruptRegisters, size == 4, window.contains(address) else { return nil }
        let (slot, register) = (address - window.lowerBound).quotientAndRemainder(dividingBy: slotSize)
        guard register == (isWrite ? interruptRegisters.acknowledge : interruptRegisters.status),
            owner(ofSlot: slot) > 0
        else { return nil }
        return interruptStatuses[Int(slot)]
    }

    private func owner(ofSlot slot: UInt64) -> Int {
        let word = slot < 16 ? owners.low.load(ordering: .acquiring) : owners.high.load(ordering: .acquiring)
        return Int(word >> (slot % 16 * 4) & 0xf)
    }
}
