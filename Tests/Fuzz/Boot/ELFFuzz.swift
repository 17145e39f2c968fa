import Boot
import Memory
import TestSupport

/// Kernels that look like ELF: headers, segments, and where they go.
final class ELFFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let plan = BootStage.plan(&input)
        var image = input.oneIn(8) ? [0x7f, 0x45, 0x4c, 0x46] + input.rest() : Self.image(&input)
        for _ in 0..<8 where !input.isEmpty { image.set(input.below(min(image.count, 512)), input.byte()) }
        if input.oneIn(16) { image = Array(image.prefix(input.below(image.count + 1))) }
        try BootStage.load(image, plan)
    }

    private static func image(_ input: inout FuzzInput) -> [UInt8] {
        let segments = (0..<1 + input.below(4)).map { index in
            var segment = ELFSegment(
                address: BootStage.number(&input), offset: input.oneIn(8) ? input.integer() : 0x1000,
                fileSize: UInt64(input.integer(UInt16.self)) & 0xfff, memorySize: UInt64(input.integer(UInt16.self)))
            if index == 0, !input.oneIn(4) { segment.address = 0x10_0000 }
            if input.oneIn(8) { segment.memorySize = BootStage.number(&input) }
            if input.oneIn(8) { segment.fileSize = BootStage.number(&input) }
            if input.oneIn(8) { segment.type = UInt32(input.below(8)) }
            return segment
        }
        return file(entry: input.oneIn(4) ? BootStage.number(&input) : 0x10_0000, segments, contents: 0x1000)
    }

    /// An ELF file with these segments' headers, and `contents` recognisable bytes at 0x1000.
    static func file(entry: UInt64, _ segments: [ELFSegment], contents count: Int) -> [UInt8] {
        elfHeaders(entry: entry, segments) + (0..<count).map { UInt8(truncatingIfNeeded: $0 % 251 + 1) }
    }
}

/// The notes of an ELF file, by one of which it is entered.
final class NotesFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let plan = BootStage.plan(&input)
        let alignment: UInt64 = input.pick([4, 8, 1, 0])
        let notes = input.oneIn(4) ? input.rest() : Self.notes(&input)
        let load = ELFSegment(address: 0x10_0000, fileSize: 0x100, memorySize: 0x1000)
        let size = input.oneIn(16) ? BootStage.number(&input) : UInt64(notes.count)
        let note = ELFSegment(
            type: 4, address: 0, offset: 0x1100, fileSize: size, memorySize: size, alignment: alignment)
        let image = ELFFuzz.file(entry: 0x10_0010, [load, note], contents: 0x100) + notes
        guard let (_, state) = try BootStage.load(image, plan) else { return }
        try expect((0x10_0000..<0x10_1000).contains(state.rip), "entered outside the segment")
    }

    private static func notes(_ input: inout FuzzInput) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<1 + input.below(4) {
            let name = input.pick([Array("Xen\0".utf8), Array("Linux\0".utf8), [], [0]])
            let description = input.oneIn(4) ? input.take(input.below(24)) : littleEndian(UInt32(0x10_0020))
            bytes += littleEndian(input.oneIn(16) ? input.integer() : UInt32(name.count))
            bytes += littleEndian(input.oneIn(16) ? input.integer() : UInt32(description.count))
            bytes += littleEndian(input.oneIn(8) ? input.integer() : input.pick([18, 5, 1] as [UInt32]))
            bytes += name + [UInt8](repeating: 0, count: -name.count & 3)
            bytes += description + [UInt8](repeating: 0, count: -description.count & 3)
        }
        return bytes
    }
}
