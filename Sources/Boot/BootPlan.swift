package import Bus

/// The protocol for entering the kernel.
package enum BootProtocol: Sendable, Equatable {
    /// PVH for an ELF file with a PVH note, `linux64` for all other files.
    case automatic
    /// The 64-bit boot protocol of Linux: long mode, zero page in RSI; bzImage, ELF and raw binaries.
    case linux64
    /// The x86/HVM direct boot ABI of Xen: protected mode without paging, start info in EBX; ELF files with the note
    /// `XEN_ELFNOTE_PHYS32_ENTRY`.
    case pvh
}

/// A virtio-mmio device as ACPI or the command line describes it.
package struct VirtioMMIODevice: Sendable, Equatable {
    /// Guest address of the registers, below 4 GiB.
    package let base: UInt32
    /// Length of the registers in bytes.
    package let size: UInt32
    /// Global system interrupt, edge-triggered.
    package let irq: UInt32

    package init(base: UInt32, size: UInt32, irq: UInt32) {
        self.base = base
        self.size = size
        self.irq = irq
    }

    /// The device in `slot` of a board's window.
    package init(slot: Int, of window: BoardLayout.VirtioWindow) {
        let addresses = window.addresses(ofSlot: slot)
        self.init(
            base: UInt32(truncatingIfNeeded: addresses.start), size: window.slotSize, irq: window.line(ofSlot: slot))
    }
}

/// The board's description for the guest, and the kernel's command line.
package struct BootPlan: Sendable {
    /// The kernel's command line as the user wrote it.
    package var commandLine: String
    /// The protocol for entering the kernel.
    package var bootProtocol: BootProtocol
    /// The board's addresses, interrupt lines and limits.
    package var layout: BoardLayout
    /// Number of vCPUs.
    package var cpuCount: Int
    /// The APIC ID of each vCPU; empty for 0, 1, 2, …
    package var apicIDs: [UInt8]
    /// The virtio-mmio devices, in the order in which the guest enumerates them.
    package var devices: [VirtioMMIODevice]
    /// Whether the board has COM1.
    package var hasSerial: Bool

    package init(
        commandLine: String = "", bootProtocol: BootProtocol = .automatic, layout: BoardLayout, cpuCount: Int,
        apicIDs: [UInt8] = [], devices: [VirtioMMIODevice] = [], hasSerial: Bool = false
    ) {
        self.commandLine = commandLine
        self.bootProtocol = bootProtocol
        self.layout = layout
        self.cpuCount = cpuCount
        self.apicIDs = apicIDs
        self.devices = devices
        self.hasSerial = hasSerial
    }
}
