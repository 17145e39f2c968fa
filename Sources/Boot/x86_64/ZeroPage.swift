import Memory

/// `boot_params` of Linux, the "zero page" (Documentation/arch/x86/zero-page.rst).
enum ZeroPage {
    private static let size = 0x1000
    /// The loader type without an assigned number.
    private static let unregisteredLoader: UInt8 = 0xff
    private static let e820Maximum = 128

    static func write(
        to memory: GuestMemory, header: SetupHeader?, map: MemoryMap, initrd: InitialRAMDisk?, rsdp: UInt64
    ) throws(BootError) {
        var page = [UInt8](repeating: 0, count: size)
        if let header {
            page.replaceSubrange(
                SetupHeader.offset..<(SetupHeader.offset + header.bytes.count), with: header.bytes)
        } else {
            // For a kernel without a setup header: the fields that the kernel checks.
            page.store(UInt16(0xaa55), at: 0x1fe)
            page.store(UInt32(0x5372_6448), at: 0x202)  // "HdrS"
            page.store(SetupHeader.oldestVersion, at: 0x206)
            page.store(UInt8(1), at: 0x211)  // loadflags: LOADED_HIGH
        }
        page.store(rsdp, at: 0x070)  // acpi_rsdp_addr
        page.store(unregisteredLoader, at: 0x210)  // type_of_loader
        page.store(UInt32(truncatingIfNeeded: initrd?.start ?? 0), at: 0x218)  // ramdisk_image
        page.store(UInt32(truncatingIfNeeded: initrd?.size ?? 0), at: 0x21c)  // ramdisk_size
        page.store(UInt32(truncatingIfNeeded: Layout.commandLine), at: 0x228)  // cmd_line_ptr
        let entries = map.entries.prefix(e820Maximum)
        page.store(UInt8(entries.count), at: 0x1e8)  // e820_entries
        for (index, entry) in entries.enumerated() {
            let start = 0x2d0 + index * 20  // e820_table
            page.store(entry.start, at: start)
            page.store(entry.end - entry.start, at: start + 8)
            page.store(entry.kind.rawValue, at: start + 16)
        }
        try memory.place(page, at: Layout.zeroPage, as: "zero page")
    }
}
