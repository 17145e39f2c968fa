import Boot
import Memory

/// StratoVirt's light machine: where everything is.
enum MicroVM {
    /// The window of virtio-mmio devices, and the length of each one's registers.
    static let window: UInt32 = 0xf010_0000
    static let slotSize: UInt32 = 0x200

    /// Interrupt lines of the virtio-mmio devices, in the order of the slots: 5 to 23, the last of the I/O APIC.
    static let firstLine: UInt32 = 5
    static let slots = 19
    /// How many of those a guest without ACPI has: the MP table ends with line 15, the last of ISA.
    static let slotsWithoutACPI = 11

    /// How many disks a client can count on plugging in, those of the command line among them.
    static let pluggableDisks = 4
    /// And how many network cards.
    static let pluggableNetworkCards = 2

    /// COM1, and the interrupt lines of the board's own devices.
    static let serialPort: UInt64 = 0x3f8
    static let serialLine: UInt32 = 4
    static let keyboardLine: UInt32 = 1

    /// The registers' address of the device in `slot`.
    static func address(ofSlot slot: Int) -> UInt32 {
        window + slotSize * UInt32(truncatingIfNeeded: slot)
    }

    /// The interrupt line of the device in `slot`.
    static func line(ofSlot slot: Int) -> UInt32 {
        firstLine + UInt32(truncatingIfNeeded: slot)
    }

    /// What the guest is told about the device in `slot`.
    static func description(ofSlot slot: Int) -> VirtioMMIODevice {
        VirtioMMIODevice(base: address(ofSlot: slot), size: slotSize, irq: line(ofSlot: slot))
    }
}
