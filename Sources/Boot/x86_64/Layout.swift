/// Guest addresses of the boot structures.
///
/// All are below 1 MiB, so the kernel and the initial RAM disk above 1 MiB never overlap them. `MemoryMap` reports
/// structures that Linux copies early as RAM, and structures that it reads later as reserved.
enum Layout {
    static let gdt: UInt64 = 0x500
    static let idt: UInt64 = 0x520
    /// `hvm_start_info`, then its module list and memory map; up to the zero page.
    static let startInfo: UInt64 = 0x6000
    /// Linux `boot_params`, one page.
    static let zeroPage: UInt64 = 0x7000
    /// Top of the initial stack, which grows down towards the zero page.
    static let stackTop: UInt64 = 0x8ff0
    /// Six pages: one PML4, one PDPT, four page directories.
    static let pageTables: UInt64 = 0x9000
    /// The command line with its NUL; up to the EBDA.
    static let commandLine: UInt64 = 0x2_0000
    /// Extended BIOS data area: the MP floating pointer, and the MP table if it fits. Reserved.
    static let ebda: UInt64 = 0x9_fc00
    static let ebdaEnd: UInt64 = 0xa_0000
    /// Reserved memory, up to 1 MiB. It starts with an MP table that is too large for the EBDA.
    static let firmware: UInt64 = 0xd_0000
    /// The ACPI tables, up to the reset vector. The RSDP comes first, where guests begin their search.
    static let acpi: UInt64 = 0xe_0000
    /// F000:FFF0 of real mode.
    static let resetVector: UInt64 = 0xf_fff0
    /// Lowest address for kernels.
    static let highMemory: UInt64 = 0x10_0000
    /// Load address and entry of a raw binary.
    static let rawKernel: UInt64 = 0x100_0000
    /// The last byte for an initial RAM disk, unless the kernel's limit is lower.
    static let initrdMaximum: UInt64 = 0x37ff_ffff
}
