import Synchronization

/// Registers of a device that vCPU threads read and acknowledge themselves, without asking the device's own thread.
///
/// The device publishes a register as long as reading it changes nothing, and withdraws it before a read would have
/// an effect. A vCPU that finds no value asks the device as for any other register.
package final class PublishedRegisters: Sendable {
    /// One register: where it is, and what a vCPU's thread may do with it.
    package struct Register: Sendable {
        let offset: Int
        let size: UInt8
        fileprivate let role: Role

        /// A register whose value the device publishes and withdraws.
        package static func value(at offset: UInt64, size: UInt8) -> Register {
            Register(offset: Int(clamping: offset), size: size, role: .value(Cell()))
        }

        /// The 4-byte register that reads the causes of an interrupt.
        package static func causes(_ status: InterruptStatus, at offset: UInt64) -> Register {
            Register(offset: Int(clamping: offset), size: 4, role: .causes(status))
        }

        /// The 4-byte register whose write takes causes away.
        package static func acknowledge(_ status: InterruptStatus, at offset: UInt64) -> Register {
            Register(offset: Int(clamping: offset), size: 4, role: .acknowledge(status))
        }
    }

    fileprivate enum Role: Sendable {
        case value(Cell)
        case causes(InterruptStatus)
        case acknowledge(InterruptStatus)
    }

    fileprivate final class Cell: Sendable {
        static let valid: UInt64 = 1 << 32
        let content = Atomic<UInt64>(0)
    }

    private let registers: [Register]
    // The place of each offset's register in `registers`.
    private let places: [UInt8]

    private static let none = UInt8.max
    /// Registers lie below this offset; no device has so many that they would need more.
    private static let span = 4096

    /// A table of registers, all values withdrawn. Those beyond the first 255, or from offset 4096 on, are left out.
    package init(_ registers: [Register]) {
        let kept = registers.prefix(Int(Self.none)).filter { $0.offset < Self.span }
        var places = [UInt8](repeating: Self.none, count: (kept.map(\.offset).max() ?? -1) + 1)
        for (place, register) in kept.enumerated() { places[register.offset] = UInt8(truncatingIfNeeded: place) }
        self.registers = Array(kept)
        self.places = places
    }

    /// The value that a read of `size` bytes gives; nil if only the device can tell.
    package func load(at offset: UInt64, size: UInt8) -> UInt32? {
        guard let place = place(offset), registers[place].size == size else { return nil }
        switch registers[place].role {
        case .value(let cell):
            let content = cell.content.load(ordering: .acquiring)
            return content & Cell.valid == 0 ? nil : UInt32(truncatingIfNeeded: content)
        case .causes(let status): return status.value
        case .acknowledge: return nil
        }
    }

    /// Does what a write of `size` bytes does, if that is to take causes of an interrupt away; answers whether it was.
    package func acknowledge(_ causes: UInt32, at offset: UInt64, size: UInt8) -> Bool {
        guard let place = place(offset), registers[place].size == size,
            case .acknowledge(let status) = registers[place].role
        else { return false }
        status.acknowledge(causes)
        return true
    }

    /// Publishes a value, or with nil withdraws it. For the device's thread only.
    package func store(_ value: UInt32?, at offset: UInt64) {
        guard let place = place(offset), case .value(let cell) = registers[place].role else { return }
        cell.content.store(value.map { UInt64($0) | Cell.valid } ?? 0, ordering: .releasing)
    }

    private func place(_ offset: UInt64) -> Int? {
        guard let offset = Int(exactly: offset), offset < places.count, places[offset] != Self.none else { return nil }
        return Int(places[offset])
    }
}
