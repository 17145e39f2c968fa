package import Bus

/// How control is handed to the kernel.
package enum BootProtocol: Sendable, Equatable {
    /// What the file asks for: an ELF file with a PVH note starts by PVH, everything else by `linux64`.
    case automatic
    /// The 64-bit boot protocol of Linux: long mode, zero page in RSI; bzImage, ELF and raw binaries.
    case linux64
    /// The x86/HVM direct boot ABI of Xen: protected mode without paging, start info in EBX; ELF files with the note
    /// `XEN_ELFNOTE_PHYS32_ENTRY`.
    case pvh
}

/// A virtio-mmio device as the guest is told about it.
package struct VirtioMMIODevice: Sendable, Equatable {
    /// Guest address of the registers, below 4 GiB.
    package let base: UInt32
    /// Length of the registers in bytes.
    package let size: UInt32
    /// Global system interrupt, raised by edges.
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

/// What a board gives a guest to start with, beside the kernel itself.
package struct BootPlan: Sendable {
    /// The kernel's command line as the user wrote it.
    package var commandLine: String
    /// How to enter the kernel.
    package var bootProtocol: BootProtocol
    /// Where the board has its devices.
    package var layout: BoardLayout
    /// Number of virtual CPUs.
    package var cpuCount: Int
    /// The APIC identifier of each; empty if they count from 0.
    package var apicIDs: [UInt8]
    /// The virtio-mmio devices, in the order the guest shall find them.
    package var devices: [VirtioMMIODevice]
    /// Whether COM1 is there.
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
