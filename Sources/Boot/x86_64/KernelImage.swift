import Host
import Memory

/// A kernel in guest memory.
struct KernelImage {
    /// The protocol for entering the kernel; never `.automatic`.
    let bootProtocol: BootProtocol
    /// Physical address of the first instruction.
    let entry: UInt64
    /// The setup header of a bzImage.
    let setupHeader: SetupHeader?
    /// The ranges that the kernel occupies, or uses before it reads its memory map.
    let ranges: [Range<UInt64>]

    /// Loads `file` as a bzImage or ELF file by its header, or else as a raw binary.
    ///
    /// - Throws: if a field of the file's header is invalid, the kernel does not fit `map`'s low memory, or the file has
    ///   no entry for `bootProtocol`.
    static func load(
        _ file: borrowing BootFile, by bootProtocol: BootProtocol, into memory: GuestMemory, map: MemoryMap
    ) throws(BootError) -> KernelImage {
        var destination = KernelDestination(memory: memory, end: map.lowMemoryEnd)
        let head = try file.head(SetupHeader.searchLength)
        if head.starts(with: ELFHeader.magic) {
            return try loadELF(file, ELFHeader(head, of: file), by: bootProtocol, into: &destination)
        }
        guard bootProtocol != .pvh else {
            throw file.error("format", "is not ELF, and only an ELF file can have a PVH entry")
        }
        if let header = try SetupHeader(head, of: file) {
            return try loadBzImage(file, header, into: &destination)
        }
        try refuseForeign(file, head)
        return try loadRaw(file, into: &destination)
    }

    private static func refuseForeign(_ file: borrowing BootFile, _ head: [UInt8]) throws(BootError) {
        if let format = ForeignFormat(head) { throw file.error("format", format.problem) }
    }

    /// Loads a raw binary (`objcopy -O binary vmlinux`) as StratoVirt does: the whole file, with the entry at its first
    /// byte.
    private static func loadRaw(
        _ file: borrowing BootFile, into destination: inout KernelDestination
    ) throws(BootError) -> KernelImage {
        Log.debug("kernel", "\(file.place) has no known format; Apus loads it as a raw binary")
        try destination.claim(start: Layout.rawKernel, count: file.size, field: "size of the raw binary", of: file)
        try destination.read(file, at: 0, count: file.size, to: Layout.rawKernel, field: "size of the raw binary")
        return KernelImage(
            bootProtocol: .linux64, entry: Layout.rawKernel, setupHeader: nil, ranges: destination.claimed)
    }

    /// Whether the file is a raw binary.
    ///
    /// - Throws: if the file has a format that no kernel has.
    static func isRaw(_ file: borrowing BootFile) throws(BootError) -> Bool {
        let head = try file.head(SetupHeader.searchLength)
        if head.starts(with: ELFHeader.magic) { return false }
        guard try SetupHeader(head, of: file) == nil else { return false }
        try refuseForeign(file, head)
        return true
    }

    /// Whether the kernel occupies a part of `range`.
    func overlaps(_ range: Range<UInt64>) -> Bool {
        ranges.contains { $0.overlaps(range) }
    }
}

/// The guest memory for kernels: RAM from 1 MiB to the end of low memory.
struct KernelDestination {
    let memory: GuestMemory
    let end: UInt64
    private(set) var claimed: [Range<UInt64>] = []

    init(memory: GuestMemory, end: UInt64) {
        self.memory = memory
        self.end = end
    }

    /// Reserves `count` bytes at `start` for the kernel.
    ///
    /// - Throws: an error with `field` if the bytes overlap the boot structures below 1 MiB or reach beyond RAM.
    mutating func claim(
        start: UInt64, count: UInt64, field: String, of file: borrowing BootFile
    ) throws(BootError) {
        let (end, overflow) = start.addingReportingOverflow(count)
        guard start >= Layout.highMemory, !overflow, end <= self.end else {
            throw file.error(
                field,
                "\(hex(count)) bytes at \(hex(start)) are not inside the RAM for kernels, "
                    + "\(hex(Layout.highMemory)) to \(hex(self.end))")
        }
        claimed.append(start..<end)
    }

    /// Reads `count` bytes of `file` directly into guest memory.
    func read(
        _ file: borrowing BootFile, at offset: UInt64, count: UInt64, to address: UInt64, field: String
    ) throws(BootError) {
        guard let slice = memory.slice(at: address, count: count) else {
            throw file.error(field, "no guest memory for \(hex(count)) bytes at \(hex(address))")
        }
        try file.fill(slice, from: offset, field: field)
    }

    /// Clears memory beyond the file's bytes.
    func clear(_ address: UInt64, count: UInt64) {
        if count > 0 { memory.slice(at: address, count: count)?.fill(0) }
    }
}
