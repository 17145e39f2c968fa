import Bus

/// The Multiple APIC Description Table (ACPI 6.5, section 5.2.12). It has no interrupt source overrides: each ISA
/// interrupt uses the I/O APIC's pin of the same number, edge-triggered and active high.
enum MADT {
    private static let enabled: UInt32 = 1 << 0
    private static let allProcessors: UInt8 = 0xff

    static func table(
        _ identifiers: APICIdentifiers, _ controllers: BoardLayout.InterruptControllers
    ) -> ACPITable {
        var body: [UInt8] = []
        body.append(littleEndian: controllers.localAPIC)
        body.append(littleEndian: UInt32(0))  // flags: no 8259 to be masked
        for (index, identifier) in identifiers.processors.enumerated() {
            body += [0, 8, UInt8(truncatingIfNeeded: index), identifier]
            body.append(littleEndian: enabled)
        }
        body += [1, 12, identifiers.ioAPIC, 0]
        body.append(littleEndian: controllers.ioAPIC)
        body.append(littleEndian: UInt32(0))  // its first global system interrupt
        // NMIs arrive at LINT1 of every processor.
        body += [4, 6, allProcessors, 0, 0, 1]
        return ACPITable(signature: "APIC", revision: 5, body: body)
    }
}
