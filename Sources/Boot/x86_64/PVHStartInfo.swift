import Memory

/// `hvm_start_info`, version 1, with its module list and memory map (Xen, public/arch-x86/hvm/start_info.h).
enum PVHStartInfo {
    private static let magic: UInt32 = 0x336e_c578
    private static let version: UInt32 = 1
    private static let size: UInt64 = 56
    private static let moduleSize: UInt64 = 32
    private static let memoryMapMaximum = 128

    static func write(
        to memory: GuestMemory, map: MemoryMap, initrd: InitialRAMDisk?, rsdp: UInt64
    ) throws(BootError) {
        let entries = map.entries.prefix(memoryMapMaximum)
        let modules = Layout.startInfo + size
        let memoryMap = modules + moduleSize
        var bytes: [UInt8] = []
        bytes.append(littleEndian: magic)
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: UInt32(0))  // flags
        bytes.append(littleEndian: UInt32(initrd == nil ? 0 : 1))  // nr_modules
        bytes.append(littleEndian: initrd == nil ? 0 : modules)  // modlist_paddr
        bytes.append(littleEndian: Layout.commandLine)  // cmdline_paddr
        bytes.append(littleEndian: rsdp)  // rsdp_paddr
        bytes.append(littleEndian: memoryMap)  // memmap_paddr
        bytes.append(littleEndian: UInt32(entries.count))  // memmap_entries
        bytes.append(littleEndian: UInt32(0))  // reserved

        // hvm_modlist_entry: paddr, size, cmdline_paddr, reserved.
        for value in [initrd?.start ?? 0, initrd?.size ?? 0, 0, 0] { bytes.append(littleEndian: value) }

        // hvm_memmap_table_entry: addr, size, type, reserved; the types are those of E820.
        for entry in entries {
            bytes.append(littleEndian: entry.start)
            bytes.append(littleEndian: entry.end - entry.start)
            bytes.append(littleEndian: entry.kind.rawValue)
            bytes.append(littleEndian: UInt32(0))
        }
        try memory.place(bytes, at: Layout.startInfo, as: "hvm_start_info")
    }
}
