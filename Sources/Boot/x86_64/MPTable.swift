import Bus
import Memory

/// The MultiProcessor table (Intel MultiProcessor Specification 1.4), for guests without ACPI: processors, the I/O
/// APIC, and the ISA interrupts, each on the I/O APIC's pin of the same number.
struct MPTable {
    private static let revision: UInt8 = 4
    private static let localAPICVersion: UInt8 = 0x14
    private static let ioAPICVersion: UInt8 = 0x11
    private static let isaBus: UInt8 = 0
    private static let allLocalAPICs: UInt8 = 0xff

    private enum EntryType: UInt8 {
        case processor, bus, ioAPIC, interrupt, localInterrupt
    }

    private enum InterruptType: UInt8 {
        case vectored, nonMaskable, systemManagement, external
    }

    private static let floatingPointerSize = 16
    private static let headerSize = 44

    /// The configuration table's bytes.
    let bytes: [UInt8]

    init(_ identifiers: APICIdentifiers, _ controllers: BoardLayout.InterruptControllers) {
        let ioAPIC = identifiers.ioAPIC
        var entries: [UInt8] = []
        var entryCount: UInt16 = 0
        func begin(_ type: EntryType) {
            entries.append(type.rawValue)
            entryCount += 1
        }

        for (index, identifier) in identifiers.processors.enumerated() {
            begin(.processor)
            // CPU flags: enabled; the first is the bootstrap processor.
            entries += [identifier, Self.localAPICVersion, index == 0 ? 0b11 : 0b01]
            entries.append(littleEndian: UInt32(0x600))  // CPU signature: family 6
            entries.append(littleEndian: UInt32(0x201))  // feature flags: FPU and APIC
            entries += [UInt8](repeating: 0, count: 8)
        }

        begin(.bus)
        entries.append(Self.isaBus)
        entries.append(text: "ISA", width: 6)

        begin(.ioAPIC)
        entries += [ioAPIC, Self.ioAPICVersion, 1]  // flags: enabled
        entries.append(littleEndian: controllers.ioAPIC)

        // Flags 0, "conforms to the bus": on ISA that is an active high edge.
        for interrupt in 0..<UInt8(clamping: controllers.isaLines) {
            begin(.interrupt)
            entries += [InterruptType.vectored.rawValue, 0, 0, Self.isaBus, interrupt, ioAPIC, interrupt]
        }
        begin(.localInterrupt)
        entries += [InterruptType.external.rawValue, 0, 0, Self.isaBus, 0, 0, 0]
        begin(.localInterrupt)
        entries += [InterruptType.nonMaskable.rawValue, 0, 0, Self.isaBus, 0, Self.allLocalAPICs, 1]

        var table = Array("PCMP".utf8)
        table.append(littleEndian: UInt16(truncatingIfNeeded: Self.headerSize + entries.count))
        table += [Self.revision, 0]  // checksum, below
        table.append(text: "APUS", width: 8)
        table.append(text: "1.0", width: 12)
        table.append(littleEndian: UInt32(0))  // OEM table pointer
        table.append(littleEndian: UInt16(0))  // OEM table size
        table.append(littleEndian: entryCount)
        table.append(littleEndian: controllers.localAPIC)
        table.append(littleEndian: UInt32(0))  // no extended table
        table += entries
        table.store(table.checksum, at: 7)
        bytes = table
    }

    /// The address of the configuration table: after the floating pointer if it fits the EBDA (40 processors), else in
    /// the reserved memory below 1 MiB, which is large enough for 254.
    var address: UInt64 {
        let behindPointer = Layout.ebda + UInt64(Self.floatingPointerSize)
        return behindPointer + UInt64(bytes.count) <= Layout.ebdaEnd ? behindPointer : Layout.firmware
    }

    /// Writes the floating pointer to the start of the EBDA, where guests search for it, and the table.
    func write(to memory: GuestMemory) throws(BootError) {
        var pointer = Array("_MP_".utf8)
        pointer.append(littleEndian: UInt32(truncatingIfNeeded: address))
        pointer += [1, Self.revision, 0]  // length in paragraphs, revision, checksum
        pointer += [UInt8](repeating: 0, count: 5)  // feature bytes: there is a table, no PIC mode
        pointer.store(pointer.checksum, at: 10)
        try memory.place(pointer, at: Layout.ebda, as: "MP floating pointer")
        try memory.place(bytes, at: address, as: "MP table")
    }
}
