import Bus
import Memory

/// The ACPI tables of a board, in sequence in reserved memory below 1 MiB.
struct ACPITables {
    private let plan: BootPlan
    private let identifiers: APICIdentifiers

    private static let alignment: UInt64 = 16
    private static let rsdpSize: UInt64 = 36

    /// The tables of the board that `plan` describes.
    init(_ plan: BootPlan, _ identifiers: APICIdentifiers) {
        self.plan = plan
        self.identifiers = identifiers
    }

    /// Writes the tables and returns the address of the RSDP, which lies where guests search for it.
    ///
    /// - Throws: if the tables do not fit.
    func write(to memory: GuestMemory) throws(BootError) -> UInt64 {
        var next = Self.aligned(Layout.acpi + Self.rsdpSize)
        func place(_ table: ACPITable) throws(BootError) -> UInt64 {
            let address = next
            next = Self.aligned(address + UInt64(table.bytes.count))
            guard next <= Layout.resetVector else {
                throw BootError(
                    place: "machine", field: "devices",
                    problem:
                        "\(plan.devices.count) devices and \(identifiers.processors.count) CPUs are more than the ACPI "
                        + "tables have room for")
            }
            try memory.place(table.bytes, at: address, as: "ACPI tables")
            return address
        }
        let dsdt = try place(DSDT.table(plan))
        let fadt = try place(FADT.table(dsdt: dsdt, plan.layout.power))
        let madt = try place(MADT.table(identifiers, plan.layout.interrupts))
        let xsdt = try place(Self.xsdt([fadt, madt]))
        try memory.place(Self.rsdp(xsdt: xsdt), at: Layout.acpi, as: "RSDP")
        return Layout.acpi
    }

    /// The Extended System Description Table: the addresses of the other tables. The FADT has the DSDT's.
    private static func xsdt(_ tables: [UInt64]) -> ACPITable {
        var body: [UInt8] = []
        for address in tables { body.append(littleEndian: address) }
        return ACPITable(signature: "XSDT", revision: 1, body: body)
    }

    /// The Root System Description Pointer, with one checksum of the first 20 bytes and one of all bytes.
    private static func rsdp(xsdt: UInt64) -> [UInt8] {
        var bytes = Array("RSD PTR ".utf8) + [0]
        bytes.append(text: "APUS", width: 6)
        bytes.append(2)  // revision
        bytes.append(littleEndian: UInt32(0))  // no RSDT
        bytes.store(bytes.checksum, at: 8)
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: rsdpSize))
        bytes.append(littleEndian: xsdt)
        bytes += [0, 0, 0, 0]
        bytes.store(bytes.checksum, at: 32)
        return bytes
    }

    private static func aligned(_ address: UInt64) -> UInt64 { (address + alignment - 1) & ~(alignment - 1) }
}
