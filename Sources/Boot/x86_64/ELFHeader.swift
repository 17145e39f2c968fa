/// The fields of an ELF file's header that the loader uses (System V gABI, chapter 4).
struct ELFHeader {
    static let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]

    private static let class64: UInt8 = 2
    private static let littleEndian: UInt8 = 1
    private static let executable: UInt16 = 2
    private static let sharedObject: UInt16 = 3
    private static let machineX86: UInt16 = 62
    private static let manyProgramHeaders: UInt16 = 0xffff

    let entry: UInt64
    let programHeaderOffset: UInt64
    let programHeaderCount: Int

    /// - Throws: if the file is not a 64-bit executable for x86-64 with program headers.
    init(_ head: [UInt8], of file: borrowing BootFile) throws(BootError) {
        guard let elfClass = head.load(at: 4, as: UInt8.self), let data = head.load(at: 5, as: UInt8.self),
            let type = head.load(at: 16, as: UInt16.self), let machine = head.load(at: 18, as: UInt16.self),
            let entry = head.load(at: 24, as: UInt64.self), let tableOffset = head.load(at: 32, as: UInt64.self),
            let entrySize = head.load(at: 54, as: UInt16.self), let count = head.load(at: 56, as: UInt16.self)
        else { throw file.error("ELF header", "the file ends in the middle of it") }
        guard elfClass == Self.class64 else {
            throw file.error("EI_CLASS", "is \(elfClass), not 2 (64-bit)")
        }
        guard data == Self.littleEndian else {
            throw file.error("EI_DATA", "is \(data), not 1 (little-endian)")
        }
        guard type == Self.executable || type == Self.sharedObject else {
            throw file.error("e_type", "is \(type), not 2 (executable) or 3 (position-independent)")
        }
        guard machine == Self.machineX86 else {
            throw file.error("e_machine", "is \(machine), not 62 (x86-64)")
        }
        guard entrySize == ELFSegment.size else {
            throw file.error("e_phentsize", "is \(entrySize), not \(ELFSegment.size)")
        }
        guard count > 0, count != Self.manyProgramHeaders else {
            throw file.error("e_phnum", "is \(count), not 1 to 65534")
        }
        self.entry = entry
        programHeaderOffset = tableOffset
        programHeaderCount = Int(count)
    }

    /// The program headers.
    ///
    /// - Throws: if they reach beyond the file.
    func segments(of file: borrowing BootFile) throws(BootError) -> [ELFSegment] {
        let table = try file.bytes(programHeaderCount * ELFSegment.size, at: programHeaderOffset, field: "e_phoff")
        return (0..<programHeaderCount).compactMap { ELFSegment(table, at: $0 * ELFSegment.size) }
    }
}

/// A program header.
struct ELFSegment {
    static let size = 56
    static let load: UInt32 = 1
    static let note: UInt32 = 4

    let type: UInt32
    let offset: UInt64
    let physicalAddress: UInt64
    let fileSize: UInt64
    let memorySize: UInt64
    let alignment: UInt64

    init?(_ table: [UInt8], at start: Int) {
        guard let type = table.load(at: start, as: UInt32.self),
            let offset = table.load(at: start + 8, as: UInt64.self),
            let physicalAddress = table.load(at: start + 24, as: UInt64.self),
            let fileSize = table.load(at: start + 32, as: UInt64.self),
            let memorySize = table.load(at: start + 40, as: UInt64.self),
            let alignment = table.load(at: start + 48, as: UInt64.self)
        else { return nil }
        self.type = type
        self.offset = offset
        self.physicalAddress = physicalAddress
        self.fileSize = fileSize
        self.memorySize = memorySize
        self.alignment = alignment
    }
}
