import Memory

/// Register values and descriptor tables of the two entry protocols.
extension InitialState {
    private static let protectedMode: UInt64 = 1 << 0
    private static let extensionType: UInt64 = 1 << 4
    private static let paging: UInt64 = 1 << 31
    private static let physicalAddressExtension: UInt64 = 1 << 5
    private static let longModeEnable: UInt64 = 1 << 8
    private static let longModeActive: UInt64 = 1 << 10
    /// Bit 1 of RFLAGS is always set; interrupts are off.
    private static let flags: UInt64 = 1 << 1

    /// The 64-bit boot protocol of Linux: long mode, identity mapping of the low 4 GiB, zero page in RSI, flat segments
    /// with the selectors `__BOOT_CS` 0x10 and `__BOOT_DS` 0x18.
    static func linux64(entry: UInt64) -> InitialState {
        InitialState(
            rip: entry, rsp: Layout.stackTop, rbp: Layout.stackTop, rbx: 0, rsi: Layout.zeroPage, rflags: flags,
            cr0: protectedMode | extensionType | paging, cr3: Layout.pageTables, cr4: physicalAddressExtension,
            efer: longModeEnable | longModeActive, code: code(0xa09b), data: data, task: task, gdt: gdt, idt: idt)
    }

    /// The x86/HVM direct boot ABI (Xen, docs/misc/pvh): protected mode without paging, start info in EBX.
    static func pvh(entry: UInt64) -> InitialState {
        InitialState(
            rip: entry, rsp: 0, rbp: 0, rbx: Layout.startInfo, rsi: 0, rflags: flags,
            cr0: protectedMode | extensionType, cr3: 0, cr4: 0, efer: 0, code: code(0xc09b), data: data, task: task,
            gdt: gdt, idt: idt)
    }

    /// Writes the GDT (two null descriptors, code, data) and an empty IDT. With the empty IDT, a fault before the kernel
    /// loads its own IDT is a triple fault, which ends the VM.
    func writeDescriptorTables(to memory: GuestMemory) throws(BootError) {
        var bytes: [UInt8] = []
        for descriptor in [0, 0, code.descriptor, data.descriptor] { bytes.append(littleEndian: descriptor) }
        try memory.place(bytes, at: gdt.base, as: "GDT")
        try memory.place([UInt8](repeating: 0, count: 8), at: idt.base, as: "IDT")
    }

    private static func code(_ attributes: UInt16) -> Segment {
        Segment(selector: 0x10, base: 0, limit: .max, attributes: attributes)
    }

    private static let data = Segment(selector: 0x18, base: 0, limit: .max, attributes: 0xc093)
    /// A busy TSS without an I/O bitmap. The processor requires one; no kernel uses it.
    private static let task = Segment(selector: 0, base: 0, limit: 0x67, attributes: 0x008b)
    private static let gdt = DescriptorTable(base: Layout.gdt, limit: 4 * 8 - 1)
    private static let idt = DescriptorTable(base: Layout.idt, limit: 7)
}
