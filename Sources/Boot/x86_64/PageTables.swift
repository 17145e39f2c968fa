import Memory

/// The page tables for a 64-bit entry: an identity mapping of the low 4 GiB in pages of 2 MiB.
enum PageTables {
    private static let present: UInt64 = 1 << 0
    private static let writable: UInt64 = 1 << 1
    private static let largePage: UInt64 = 1 << 7
    private static let pageSize: UInt64 = 0x1000
    private static let directoryCount: UInt64 = 4
    private static let entryCount: UInt64 = 512

    static func write(to memory: GuestMemory) throws(BootError) {
        let pointerTable = Layout.pageTables + pageSize
        let directories = pointerTable + pageSize
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int((2 + directoryCount) * pageSize))

        bytes.append(littleEndian: pointerTable | present | writable)
        bytes.append(contentsOf: repeatElement(0, count: Int(pageSize) - 8))
        for index in 0..<directoryCount {
            bytes.append(littleEndian: (directories + index * pageSize) | present | writable)
        }
        bytes.append(contentsOf: repeatElement(0, count: Int(pageSize - directoryCount * 8)))
        for index in 0..<(directoryCount * entryCount) {
            bytes.append(littleEndian: index << 21 | present | writable | largePage)
        }
        try memory.place(bytes, at: Layout.pageTables, as: "page tables")
    }
}
