/// The Multiple APIC Description Table (ACPI 6.5, section 5.2.12). ISA interrupts need no overrides: each is on the
/// I/O APIC's pin of the same number, an active high edge.
enum MADT {
    private static let enabled: UInt32 = 1 << 0
    private static let allProcessors: UInt8 = 0xff

    /// - Parameter cpuCount: 1 to 254. The I/O APIC takes the identifier after theirs.
    static func table(cpuCount: Int) -> ACPITable {
        let ioAPIC = UInt8(truncatingIfNeeded: cpuCount)
        var body: [UInt8] = []
        body.append(littleEndian: Layout.localAPIC)
        body.append(littleEndian: UInt32(0))  // flags: no 8259 to be masked
        for identifier in 0..<ioAPIC {
            body += [0, 8, identifier, identifier]
            body.append(littleEndian: enabled)
        }
        body += [1, 12, ioAPIC, 0]
        body.append(littleEndian: Layout.ioAPIC)
        body.append(littleEndian: UInt32(0))  // its first global system interrupt
        // Non-maskable interrupts come in at LINT1 of each processor.
        body += [4, 6, allProcessors, 0, 0, 1]
        return ACPITable(signature: "APIC", revision: 5, body: body)
    }
}
