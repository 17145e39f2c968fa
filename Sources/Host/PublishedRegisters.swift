import Synchronization

/// Registers of a device whose values any thread may read without asking the device's own thread.
///
/// The device publishes a register as long as reading it changes nothing, and withdraws it before a read would have
/// an effect; a vCPU that finds no value asks the device as for any other register.
package final class PublishedRegisters: Sendable {
    /// How many registers there are.
    package static let count = 8

    private static let valid: UInt16 = 0x100
    private let cells: InlineArray<8, Atomic<UInt16>>

    /// All registers withdrawn.
    package init() {
        cells = InlineArray { _ in Atomic(0) }
    }

    /// The register's value; nil if only the device can tell, or if there is no such register.
    package func load(_ register: Int) -> UInt8? {
        guard cells.indices.contains(register) else { return nil }
        let cell = cells[register].load(ordering: .acquiring)
        return cell & Self.valid == 0 ? nil : UInt8(truncatingIfNeeded: cell)
    }

    /// Publishes a value, or with nil withdraws the register. For the device's thread only.
    package func store(_ value: UInt8?, at register: Int) {
        guard cells.indices.contains(register) else { return }
        cells[register].store(value.map { UInt16($0) | Self.valid } ?? 0, ordering: .releasing)
    }
}
