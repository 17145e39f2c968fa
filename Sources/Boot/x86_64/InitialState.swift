/// A segment register with its hidden part, in KVM's layout.
package struct Segment: Equatable, Sendable {
    package let selector: UInt16
    package let base: UInt64
    /// The last offset in bytes, for either granularity.
    package let limit: UInt32
    /// Descriptor bits 40 to 55: type (bits 0-3), S (4), DPL (5-6), P (7), AVL (12), L (13), D/B (14), G (15).
    package let attributes: UInt16

    package var type: UInt8 { UInt8(truncatingIfNeeded: attributes & 0xf) }
    package var isCodeOrData: Bool { attributes & 1 << 4 != 0 }
    package var privilegeLevel: UInt8 { UInt8(truncatingIfNeeded: attributes >> 5 & 3) }
    package var isPresent: Bool { attributes & 1 << 7 != 0 }
    package var isLongMode: Bool { attributes & 1 << 13 != 0 }
    package var isDefault32Bit: Bool { attributes & 1 << 14 != 0 }
    package var isPageGranular: Bool { attributes & 1 << 15 != 0 }

    /// The segment's descriptor in the GDT.
    var descriptor: UInt64 {
        let limit = UInt64(isPageGranular ? limit >> 12 : limit)
        return limit & 0xffff | (base & 0xff_ffff) << 16 | UInt64(attributes & 0xf0ff) << 40
            | (limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56
    }
}

/// A descriptor table register.
package struct DescriptorTable: Equatable, Sendable {
    package let base: UInt64
    /// The last offset in bytes.
    package let limit: UInt16
}

/// The registers of the bootstrap processor at the kernel's entry. All other registers have their reset values.
package struct InitialState: Equatable, Sendable {
    package let rip: UInt64
    package let rsp: UInt64
    package let rbp: UInt64
    package let rbx: UInt64
    package let rsi: UInt64
    package let rflags: UInt64
    package let cr0: UInt64
    package let cr3: UInt64
    package let cr4: UInt64
    package let efer: UInt64
    package let code: Segment
    /// DS, ES, FS, GS and SS.
    package let data: Segment
    package let task: Segment
    package let gdt: DescriptorTable
    package let idt: DescriptorTable
}
