/// A system description table: the common header (ACPI 6.5, section 5.2.6) and the body.
struct ACPITable {
    static let headerSize = 36
    private static let checksumOffset = 9
    private static let revisionOfUs: UInt32 = 1

    /// The table, with length and checksum filled in.
    let bytes: [UInt8]

    init(signature: StaticString, revision: UInt8, body: [UInt8]) {
        var table: [UInt8] = []
        table.reserveCapacity(Self.headerSize + body.count)
        table.append(text: signature, width: 4)
        table.append(littleEndian: UInt32(truncatingIfNeeded: Self.headerSize + body.count))
        table += [revision, 0]
        table.append(text: "APUS", width: 6)  // OEM
        table.append(text: "MICROVM", width: 8)  // OEM table
        table.append(littleEndian: Self.revisionOfUs)
        table.append(text: "APUS", width: 4)  // creator
        table.append(littleEndian: Self.revisionOfUs)
        table += body
        table.store(table.checksum, at: Self.checksumOffset)
        bytes = table
    }
}
