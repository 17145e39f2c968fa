/// Where the boot structures lie in guest memory.
///
/// Everything is below 1 MiB, so a kernel and an initial RAM disk above it cannot touch anything here. What Linux has
/// copied before it uses the memory is ordinary RAM to the guest (`MemoryMap`); what it reads later is reserved.
enum Layout {
    static let gdt: UInt64 = 0x500
    static let idt: UInt64 = 0x520
    /// `hvm_start_info`, then its module list and memory map; up to the zero page.
    static let startInfo: UInt64 = 0x6000
    /// Linux `boot_params`, one page.
    static let zeroPage: UInt64 = 0x7000
    /// Where the first stack begins, growing down towards the zero page.
    static let stackTop: UInt64 = 0x8ff0
    /// Six pages: one PML4, one PDPT, four page directories.
    static let pageTables: UInt64 = 0x9000
    /// The command line with its NUL; up to the EBDA.
    static let commandLine: UInt64 = 0x2_0000
    /// Extended BIOS data area: the MP floating pointer, and the MP table as long as it fits. Reserved.
    static let ebda: UInt64 = 0x9_fc00
    static let ebdaEnd: UInt64 = 0xa_0000
    /// Reserved from here to 1 MiB. An MP table too large for the EBDA comes first.
    static let firmware: UInt64 = 0xd_0000
    /// The ACPI tables, RSDP first (where a search for it begins); up to the reset vector.
    static let acpi: UInt64 = 0xe_0000
    /// F000:FFF0 of real mode.
    static let resetVector: UInt64 = 0xf_fff0
    /// Where kernels may begin.
    static let highMemory: UInt64 = 0x10_0000
    /// Where a raw binary is loaded and entered.
    static let rawKernel: UInt64 = 0x100_0000
    /// The last byte an initial RAM disk may use, unless the kernel asks for less.
    static let initrdMaximum: UInt64 = 0x37ff_ffff
}
