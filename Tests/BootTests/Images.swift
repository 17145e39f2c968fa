import Bus
import Host
import Memory
import TestSupport

@testable import Boot

/// Small kernels made up for tests, as bytes with fields to break.
struct Image {
    var bytes: [UInt8]

    mutating func set<T: FixedWidthInteger>(_ offset: Int, _ value: T) { bytes.store(value, at: offset) }

    func with<T: FixedWidthInteger>(_ offset: Int, _ value: T) -> Image {
        var copy = self
        copy.set(offset, value)
        return copy
    }

    func cut(_ count: Int) -> Image { Image(bytes: Array(bytes.prefix(count))) }

    /// The image as a file in memory.
    func file(_ role: BootFile.Role = .kernel) throws -> BootFile {
        let descriptor = try FileDescriptor.memory(name: "image")
        try descriptor.write(bytes)
        return try BootFile(role, path: "/test/image", descriptor: descriptor)
    }

    /// A relocatable bzImage with two setup sectors and `payload` recognisable bytes of kernel.
    static func bzImage(payload: Int = 0x1000) -> Image {
        var image = Image(bytes: [UInt8](repeating: 0, count: 3 * 512) + pattern(payload))
        image.set(0x1f1, UInt8(2))  // setup_sects
        image.set(0x1f4, UInt32(payload / 16))  // syssize
        image.set(0x1fe, UInt16(0xaa55))
        image.set(0x200, UInt16(0x6aeb))  // jump: the header ends at 0x26c
        image.set(0x202, UInt32(0x5372_6448))
        image.set(0x206, UInt16(0x20f))
        image.set(0x211, UInt8(1))  // loadflags
        image.set(0x214, UInt32(0x10_0000))  // code32_start
        image.set(0x22c, UInt32(0x7fff_ffff))  // initrd_addr_max
        image.set(0x230, UInt32(0x20_0000))  // kernel_alignment
        image.set(0x234, UInt8(1))  // relocatable_kernel
        image.set(0x236, UInt16(3))  // xloadflags
        image.set(0x238, UInt32(2047))  // cmdline_size
        image.set(0x258, UInt64(0x100_0000))  // pref_address
        image.set(0x260, UInt32(0x40_0000))  // init_size
        return image
    }

    struct Segment {
        var type: UInt32 = 1
        var address: UInt64 = 0
        var contents: [UInt8] = []
        var memorySize: UInt64?
    }

    /// An ELF file; segment `n`'s contents are at 0x1000 * (n + 1), its header at 64 + 56 * n.
    static func elf(entry: UInt64, _ segments: [Segment]) -> Image {
        var contents: [UInt8] = []
        let headers = segments.map { segment in
            let count = UInt64(segment.contents.count)
            let offset = UInt64(0x1000 + contents.count)
            contents += segment.contents
            contents += [UInt8](repeating: 0, count: -contents.count & 0xfff)
            return ELFSegment(
                type: segment.type, address: segment.address, offset: offset, fileSize: count,
                memorySize: segment.memorySize ?? count)
        }
        return Image(bytes: elfHeaders(entry: entry, headers) + contents)
    }

    /// Two loadable segments, the second with 0x800 bytes to be cleared, entered at 0x1000010.
    static var linux: Image { elf(entry: 0x100_0010, linuxSegments) }

    /// The same with a PVH note: entry 0x1000020.
    static var pvh: Image {
        elf(entry: 0x100_0010, linuxSegments + [Segment(type: 4, contents: note(entry: UInt32(0x100_0020)))])
    }

    static let linuxSegments = [
        Segment(address: 0x100_0000, contents: pattern(0x1000)),
        Segment(address: 0x200_0000, contents: pattern(0x800), memorySize: 0x1000),
    ]

    /// A note of another owner, then XEN_ELFNOTE_PHYS32_ENTRY.
    static func note<T: FixedWidthInteger>(entry: T) -> [UInt8] {
        var bytes: [UInt8] = []
        for word in [6, 5, 18] { bytes.append(littleEndian: UInt32(word)) }
        bytes += Array("Linux\0".utf8) + [0, 0] + [1, 2, 3, 4, 5, 0, 0, 0]
        for word in [4, T.bitWidth / 8, 18] { bytes.append(littleEndian: UInt32(word)) }
        bytes += Array("Xen\0".utf8)
        bytes.append(littleEndian: entry)
        return bytes
    }

    /// Bytes that differ from their neighbours and are not zero.
    static func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251) + 1 } }
}

/// Guest memory that holds a value everywhere the boot structures should not rely on zeroes.
func dirtyMemory(_ size: Int = 0x400_0000) throws -> GuestMemory {
    let memory = try GuestMemory(size: size)
    try memory.slice(at: GuestAddress(0), count: 0x10_0000).fill(0xee)
    return memory
}

extension GuestMemory {
    func bytes(_ address: UInt64, _ count: Int) throws -> [UInt8] {
        try read(count: count, at: GuestAddress(address))
    }

    func value<T: FixedWidthInteger>(_ address: UInt64, _ type: T.Type) throws -> T {
        try load(at: GuestAddress(address))
    }
}

/// Loads `image`, with `initrd` if there is one.
@discardableResult
func load(
    _ image: Image, _ plan: BootPlan = BootPlan(layout: .microvm, cpuCount: 1), into memory: GuestMemory,
    initrd: Image? = nil
) throws -> InitialState {
    let kernel = try image.file()
    let disk: BootFile? = if let initrd { try initrd.file(.initrd) } else { nil }
    return try plan.load(kernel: kernel, initrd: disk, into: memory)
}
