extension KernelImage {
    /// Loads an ELF file's segments to their physical addresses. The entry is that of the PVH note, unless the file has
    /// none or `bootProtocol` is `linux64`; then it is `e_entry`, the 64-bit entry of Linux's `vmlinux`.
    static func loadELF(
        _ file: borrowing BootFile, _ header: ELFHeader, by bootProtocol: BootProtocol,
        into destination: inout KernelDestination
    ) throws(BootError) -> KernelImage {
        let segments = try header.segments(of: file)
        let pvhEntry = bootProtocol == .linux64 ? nil : try pvhEntry(of: file, segments)
        if bootProtocol == .pvh, pvhEntry == nil {
            throw file.error("notes", "there is no XEN_ELFNOTE_PHYS32_ENTRY, the entry for PVH")
        }
        // Check all segments before reading the first: their total size is then at most that of guest memory.
        let loaded = segments.filter { $0.type == ELFSegment.load && ($0.memorySize > 0 || $0.fileSize > 0) }
        for segment in loaded { try claim(segment, of: file, in: &destination) }
        try checkOverlap(of: file, destination.claimed)
        for segment in loaded { try load(segment, of: file, into: destination) }

        let entry = pvhEntry ?? header.entry
        guard destination.claimed.contains(where: { $0.contains(entry) }) else {
            let name = pvhEntry == nil ? "e_entry" : "XEN_ELFNOTE_PHYS32_ENTRY"
            throw file.error(name, "\(hex(entry)) is in none of the file's loadable segments")
        }
        return KernelImage(
            bootProtocol: pvhEntry == nil ? .linux64 : .pvh, entry: entry, setupHeader: nil,
            ranges: destination.claimed)
    }

    private static func claim(
        _ segment: ELFSegment, of file: borrowing BootFile, in destination: inout KernelDestination
    ) throws(BootError) {
        guard segment.fileSize <= segment.memorySize else {
            throw file.error(
                "p_filesz", "\(hex(segment.fileSize)) is more than p_memsz, \(hex(segment.memorySize))")
        }
        try destination.claim(
            start: segment.physicalAddress, count: segment.memorySize, field: "p_paddr", of: file)
    }

    private static func load(
        _ segment: ELFSegment, of file: borrowing BootFile, into destination: KernelDestination
    ) throws(BootError) {
        let address = segment.physicalAddress
        try destination.read(file, at: segment.offset, count: segment.fileSize, to: address, field: "p_offset")
        destination.clear(address + segment.fileSize, count: segment.memorySize - segment.fileSize)
    }

    private static func checkOverlap(of file: borrowing BootFile, _ ranges: [Range<UInt64>]) throws(BootError) {
        let sorted = ranges.sorted { $0.lowerBound < $1.lowerBound }
        for (range, next) in zip(sorted, sorted.dropFirst()) where range.upperBound > next.lowerBound {
            throw file.error(
                "p_paddr", "the segments at \(hex(range.lowerBound)) and \(hex(next.lowerBound)) overlap")
        }
    }
}

/// The notes of an ELF file (gABI, chapter 5): name and description, each padded to the segment's alignment.
extension KernelImage {
    private static let xen: [UInt8] = Array("Xen\0".utf8)
    private static let phys32Entry: UInt32 = 18
    /// The limit on notes in bytes, against broken files; valid notes have a few hundred bytes.
    private static let noteMaximum: UInt64 = 0x10_0000

    /// The address in the note `XEN_ELFNOTE_PHYS32_ENTRY`, or nil if there is no such note.
    private static func pvhEntry(
        of file: borrowing BootFile, _ segments: [ELFSegment]
    ) throws(BootError) -> UInt64? {
        for segment in segments where segment.type == ELFSegment.note {
            guard segment.fileSize <= noteMaximum else {
                throw file.error("p_filesz", "\(hex(segment.fileSize)) bytes of notes are more than 1 MiB")
            }
            let notes = try file.bytes(Int(segment.fileSize), at: segment.offset, field: "p_offset")
            if let entry = try pvhEntry(of: file, in: notes, alignment: segment.alignment == 8 ? 8 : 4) {
                return entry
            }
        }
        return nil
    }

    private static func pvhEntry(
        of file: borrowing BootFile, in notes: [UInt8], alignment: Int
    ) throws(BootError) -> UInt64? {
        func padded(_ size: Int) -> Int { (size + alignment - 1) & ~(alignment - 1) }
        var start = 0
        // Sizes have 32 bits, so their sums cannot overflow. A rest too short for a note is padding.
        while let nameSize = notes.load(at: start, as: UInt32.self),
            let size = notes.load(at: start + 4, as: UInt32.self),
            let type = notes.load(at: start + 8, as: UInt32.self)
        {
            let name = start + 12
            let description = padded(name + Int(nameSize))
            let end = description + Int(size)
            guard end <= notes.count else {
                throw file.error("n_descsz", "a note reaches beyond its segment: \(nameSize) and \(size) bytes")
            }
            if type == phys32Entry, notes[name..<(name + Int(nameSize))].elementsEqual(xen) {
                if size == 8, let entry = notes.load(at: description, as: UInt64.self) { return entry }
                if size == 4, let entry = notes.load(at: description, as: UInt32.self) { return UInt64(entry) }
                throw file.error("n_descsz", "XEN_ELFNOTE_PHYS32_ENTRY has \(size) bytes, not 4 or 8")
            }
            start = padded(end)
        }
        return nil
    }
}
