import CHost
import Host

/// The registers a boot processor begins with.
package struct InitialRegisters: Sendable {
    /// A segment register's hidden part.
    package struct Segment: Sendable {
        package let selector: UInt16
        package let base: UInt64
        package let limit: UInt32
        package let type: UInt8
        /// Code or data, not a system segment.
        package let isCodeOrData: Bool
        /// 64-bit code (`L`), and 32-bit operands (`D/B`).
        package let isLong: Bool
        package let is32Bit: Bool
        /// The limit counts pages (`G`).
        package let countsPages: Bool

        package init(
            selector: UInt16, base: UInt64 = 0, limit: UInt32, type: UInt8, isCodeOrData: Bool, isLong: Bool,
            is32Bit: Bool, countsPages: Bool
        ) {
            self.selector = selector
            self.base = base
            self.limit = limit
            self.type = type
            self.isCodeOrData = isCodeOrData
            self.isLong = isLong
            self.is32Bit = is32Bit
            self.countsPages = countsPages
        }
    }

    /// A descriptor table's place.
    package struct Table: Sendable {
        package let base: UInt64
        package let limit: UInt16

        package init(base: UInt64, limit: UInt16) {
            self.base = base
            self.limit = limit
        }
    }

    package var rip: UInt64 = 0
    package var rsp: UInt64 = 0
    package var rbp: UInt64 = 0
    package var rsi: UInt64 = 0
    package var rbx: UInt64 = 0
    package var cr0: UInt64 = 0
    package var cr3: UInt64 = 0
    package var cr4: UInt64 = 0
    package var efer: UInt64 = 0
    package var code: Segment
    package var data: Segment
    package var task: Segment
    package var gdt: Table
    package var idt: Table

    package init(code: Segment, data: Segment, task: Segment, gdt: Table, idt: Table) {
        self.code = code
        self.data = data
        self.task = task
        self.gdt = gdt
        self.idt = idt
    }
}

extension VCPU {
    /// Gives the vCPU everything but its registers: `CPUID`, MSRs, FPU and local APIC.
    package func prepare(_ machine: VirtualMachine, _ topology: ProcessorTopology) throws(HypervisorError) {
        try machine.cpuid.apply(to: self, topology, tscKilohertz: tscKilohertz)
        try setModelSpecificRegisters()
        var fpu = kvm_fpu()
        fpu.fcw = 0x37f
        fpu.mxcsr = 0x1f80
        try unsafe request("KVM_SET_FPU", HOST_KVM_SET_FPU, &fpu)
        try setLocalInterrupts()
    }

    /// The time stamp counter's frequency; 0 if KVM does not know it.
    private var tscKilohertz: UInt32 {
        UInt32(max(0, host_ioctl(rawValue, HOST_KVM_GET_TSC_KHZ, 0)))
    }

    private func setModelSpecificRegisters() throws(HypervisorError) {
        // SYSENTER (3), STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE and the counter at zero; fast strings on;
        // MTRRs off, since no memory type but KVM's own counts.
        let values: [(UInt32, UInt64)] = [
            (0x174, 0), (0x175, 0), (0x176, 0), (0xc000_0081, 0), (0xc000_0082, 0), (0xc000_0083, 0),
            (0xc000_0084, 0), (0xc000_0102, 0), (0x10, 0), (0x1a0, 1), (0x2ff, 0),
        ]
        var left = values[...]
        while !left.isEmpty {
            let stride = MemoryLayout<kvm_msr_entry>.stride
            let buffer = IOBuffer(capacity: 8 + left.count * stride)
            buffer.all.store(UInt32(left.count), at: 0)
            for (index, (number, value)) in left.enumerated() {
                buffer.all.store(number, at: 8 + index * stride)
                buffer.all.store(value, at: 16 + index * stride)
            }
            // KVM stops at one that this kernel lacks: it is left out, the others follow.
            let done = try request("KVM_SET_MSRS", HOST_KVM_SET_MSRS, buffer)
            left = left.dropFirst(Int(done) + 1)
        }
    }

    /// LINT0 takes the PIC's interrupts, LINT1 the NMI.
    private func setLocalInterrupts() throws(HypervisorError) {
        let state = IOBuffer(capacity: MemoryLayout<kvm_lapic_state>.size)
        try request("KVM_GET_LAPIC", HOST_KVM_GET_LAPIC, state)
        for (offset, mode) in [(0x350, UInt32(7)), (0x360, UInt32(4))] {
            let entry = state.all.load(at: offset, as: UInt32.self) ?? 0
            state.all.store(entry & ~0x700 | mode << 8, at: offset)
        }
        try request("KVM_SET_LAPIC", HOST_KVM_SET_LAPIC, state)
    }

    /// Gives the boot processor its registers. The others stay in reset until the guest starts them.
    package func set(_ initial: InitialRegisters) throws(HypervisorError) {
        var special = kvm_sregs()
        try unsafe request("KVM_GET_SREGS", HOST_KVM_GET_SREGS, &special)
        special.cs = Self.segment(initial.code)
        let data = Self.segment(initial.data)
        (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data)
        special.tr = Self.segment(initial.task)
        special.gdt.base = initial.gdt.base
        special.gdt.limit = initial.gdt.limit
        special.idt.base = initial.idt.base
        special.idt.limit = initial.idt.limit
        special.cr0 = initial.cr0
        special.cr3 = initial.cr3
        special.cr4 = initial.cr4
        special.efer = initial.efer
        try unsafe request("KVM_SET_SREGS", HOST_KVM_SET_SREGS, &special)

        var general = kvm_regs()
        general.rip = initial.rip
        general.rsp = initial.rsp
        general.rbp = initial.rbp
        general.rsi = initial.rsi
        general.rbx = initial.rbx
        general.rflags = 2
        try unsafe request("KVM_SET_REGS", HOST_KVM_SET_REGS, &general)
    }

    private static func segment(_ segment: InitialRegisters.Segment) -> kvm_segment {
        var entry = kvm_segment()
        entry.selector = segment.selector
        entry.base = segment.base
        entry.limit = segment.limit
        entry.type = segment.type
        entry.s = segment.isCodeOrData ? 1 : 0
        entry.l = segment.isLong ? 1 : 0
        entry.db = segment.is32Bit ? 1 : 0
        entry.g = segment.countsPages ? 1 : 0
        entry.present = 1
        return entry
    }
}
