import Bus
import Host
import Memory
import Testing

@testable import Boot

@Suite struct ELFKernelTests {
    @Test func segmentsGoToTheirPhysicalAddressesAndTheRestIsCleared() throws {
        let memory = try dirtyMemory()
        try memory.slice(at: GuestAddress(0x200_0000), count: 0x2000).fill(0xee)
        let state = try load(.linux, into: memory)
        #expect(state.rip == 0x100_0010)
        #expect(state.rsi == 0x7000)
        #expect(try memory.bytes(0x100_0000, 0x1000) == Image.pattern(0x1000))
        #expect(try memory.bytes(0x200_0000, 0x800) == Image.pattern(0x800))
        #expect(try memory.bytes(0x200_0800, 0x800).allSatisfy { $0 == 0 })
        #expect(try memory.bytes(0x200_1000, 0x1000).allSatisfy { $0 == 0xee })
    }

    @Test func withoutAHeaderTheZeroPageSaysWhatALoaderHasToSay() throws {
        let memory = try dirtyMemory()
        try load(.linux, into: memory)
        let page = try memory.bytes(0x7000, 0x1000)
        #expect(page.load(at: 0x1fe, as: UInt16.self) == 0xaa55)
        #expect(Array(page[0x202..<0x206]) == Array("HdrS".utf8))
        #expect(page[0x210] == 0xff)
        #expect(page.load(at: 0x218, as: UInt64.self) == 0)
        #expect(page.load(at: 0x228, as: UInt32.self) == 0x2_0000)
    }

    struct Choice: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let image: Image
        let demanded: BootProtocol
        let entry: UInt64
        let isPVH: Bool

        init(_ name: String, _ image: Image, _ demanded: BootProtocol, _ entry: UInt64, isPVH: Bool) {
            testDescription = name
            self.image = image
            self.demanded = demanded
            self.entry = entry
            self.isPVH = isPVH
        }
    }

    @Test(arguments: [
        Choice("a note means PVH", .pvh, .automatic, 0x100_0020, isPVH: true),
        Choice("PVH demanded", .pvh, .pvh, 0x100_0020, isPVH: true),
        Choice("64 bits demanded despite the note", .pvh, .linux64, 0x100_0010, isPVH: false),
        Choice("no note means 64 bits", .linux, .automatic, 0x100_0010, isPVH: false),
        Choice("a note of 8 bytes", noted(Image.note(entry: UInt64(0x100_0030))), .automatic, 0x100_0030, isPVH: true),
        Choice(
            "notes of others only", noted(Array(Image.note(entry: UInt32(0)).prefix(28))), .automatic, 0x100_0010,
            isPVH: false),
        Choice("an empty note segment", noted([]), .automatic, 0x100_0010, isPVH: false),
        Choice("padding shorter than a note", noted([4, 0, 0, 0, 4, 0, 0]), .automatic, 0x100_0010, isPVH: false),
        Choice(
            "a broken note, but 64 bits demanded", noted([UInt8](repeating: 0xff, count: 12)), .linux64, 0x100_0010,
            isPVH: false),
        Choice("an empty segment anywhere", with(.init(address: 0x5000)), .automatic, 0x100_0010, isPVH: false),
        Choice(
            "a segment that ends with RAM", with(.init(address: 0x3ff_f000, memorySize: 0x1000)), .automatic,
            0x100_0010, isPVH: false),
        Choice("position-independent", Image.linux.with(16, UInt16(3)), .automatic, 0x100_0010, isPVH: false),
    ])
    func entry(_ choice: Choice) throws {
        let memory = try dirtyMemory()
        let state = try load(
            choice.image, BootPlan(bootProtocol: choice.demanded, layout: .microvm, cpuCount: 1), into: memory)
        #expect(state.rip == choice.entry)
        #expect((state.efer == 0) == choice.isPVH)
        #expect(state.rbx == (choice.isPVH ? 0x6000 : 0))
        #expect(state.rsi == (choice.isPVH ? 0 : 0x7000))
    }

    @Test(arguments: [
        HostileKernel("cut in the header", Image.linux.cut(57), "ELF header"),
        HostileKernel("only the magic", Image.linux.cut(4), "ELF header"),
        HostileKernel("32-bit", Image.linux.with(4, UInt8(1)), "EI_CLASS"),
        HostileKernel("big-endian", Image.linux.with(5, UInt8(2)), "EI_DATA"),
        HostileKernel("relocatable object", Image.linux.with(16, UInt16(1)), "e_type"),
        HostileKernel("AArch64", Image.linux.with(18, UInt16(183)), "e_machine"),
        HostileKernel("e_phentsize 0", Image.linux.with(54, UInt16(0)), "e_phentsize"),
        HostileKernel("e_phentsize 57", Image.linux.with(54, UInt16(57)), "e_phentsize"),
        HostileKernel("no program headers", Image.linux.with(56, UInt16(0)), "e_phnum"),
        HostileKernel("PN_XNUM", Image.linux.with(56, UInt16(0xffff)), "e_phnum"),
        HostileKernel("more program headers than the file holds", Image.linux.with(56, UInt16(0xfffe)), "e_phoff"),
        HostileKernel("program headers at the end", Image.linux.with(32, UInt64(0x3000)), "e_phoff"),
        HostileKernel("program headers beyond the end", Image.linux.with(32, UInt64(0x10_0000)), "e_phoff"),
        HostileKernel("e_phoff at its maximum", Image.linux.with(32, UInt64.max), "e_phoff"),
        HostileKernel("e_phoff wraps", Image.linux.with(32, UInt64.max - 55), "e_phoff"),
        HostileKernel("p_offset beyond the end", Image.linux.with(64 + 8, UInt64(0x3000)), "p_offset"),
        HostileKernel("p_offset at its maximum", Image.linux.with(64 + 8, UInt64.max), "p_offset"),
        HostileKernel("p_offset wraps", Image.linux.with(64 + 8, UInt64.max - 0xfff), "p_offset"),
        HostileKernel(
            "p_filesz beyond the end", Image.linux.with(120 + 32, UInt64(0x1001)).with(120 + 40, UInt64(0x2000)),
            "p_offset"),
        HostileKernel("p_filesz at its maximum", Image.linux.with(64 + 32, UInt64.max), "p_filesz"),
        HostileKernel(
            "p_filesz and p_memsz at their maximum", Image.linux.with(64 + 32, UInt64.max).with(64 + 40, UInt64.max),
            "p_paddr"),
        HostileKernel("p_filesz more than p_memsz", Image.linux.with(64 + 40, UInt64(0xfff)), "p_filesz"),
        HostileKernel("p_memsz 0 with contents", Image.linux.with(64 + 40, UInt64(0)), "p_filesz"),
        HostileKernel("p_memsz larger than RAM", Image.linux.with(64 + 40, UInt64(0x400_0000)), "p_paddr"),
        HostileKernel("p_memsz at its maximum", Image.linux.with(64 + 40, UInt64.max), "p_paddr"),
        HostileKernel("p_paddr 0", Image.linux.with(64 + 24, UInt64(0)), "p_paddr"),
        HostileKernel("p_paddr on the page tables", Image.linux.with(64 + 24, UInt64(0x9000)), "p_paddr"),
        HostileKernel("p_paddr one byte below 1 MiB", Image.linux.with(64 + 24, UInt64(0xf_ffff)), "p_paddr"),
        HostileKernel("p_paddr at the end of RAM", Image.linux.with(64 + 24, UInt64(0x400_0000)), "p_paddr"),
        HostileKernel(
            "p_paddr is a virtual address", Image.linux.with(64 + 24, UInt64(0xffff_ffff_8100_0000)), "p_paddr"),
        HostileKernel("p_paddr wraps", Image.linux.with(64 + 24, UInt64.max - 0xfff), "p_paddr"),
        HostileKernel("same segment twice", with(.init(address: 0x100_0000, contents: [1])), "p_paddr"),
        HostileKernel("segments overlap by one byte", with(.init(address: 0xff_ffff, contents: [1, 2])), "p_paddr"),
        HostileKernel(
            "a segment inside another's cleared part", with(.init(address: 0x200_0900, contents: [1])), "p_paddr"),
        HostileKernel("nothing to load", Image.elf(entry: 0x100_0000, [.init(type: 6)]), "e_entry"),
        HostileKernel("entry 0", Image.linux.with(24, UInt64(0)), "e_entry"),
        HostileKernel("entry just behind a segment", Image.linux.with(24, UInt64(0x100_1000)), "e_entry"),
        HostileKernel("entry is a virtual address", Image.linux.with(24, UInt64(0xffff_ffff_8100_0010)), "e_entry"),
        HostileKernel("PVH demanded without a note", .linux, "notes", by: .pvh),
        HostileKernel("PVH entry outside", noted(Image.note(entry: UInt32(0x300_0000))), "XEN_ELFNOTE_PHYS32_ENTRY"),
        HostileKernel(
            "PVH entry beyond 4 GiB", noted(Image.note(entry: UInt64(1) << 32 + 0x100_0000)), "XEN_ELFNOTE_PHYS32_ENTRY"
        ),
        HostileKernel("PVH note of 2 bytes", noted(Image.note(entry: UInt16(0x10)) + [0, 0]), "n_descsz"),
        HostileKernel("n_namesz at its maximum", notedWith(28, UInt32.max), "n_descsz"),
        HostileKernel("n_descsz at its maximum", notedWith(32, UInt32.max), "n_descsz"),
        HostileKernel("n_descsz one byte too large", notedWith(32, UInt32(5)), "n_descsz"),
        HostileKernel("first note's n_descsz at its maximum", notedWith(4, UInt32.max), "n_descsz"),
        HostileKernel("notes beyond the end", Image.pvh.with(176 + 8, UInt64(0x10_0000)), "p_offset"),
        HostileKernel("notes' p_offset at its maximum", Image.pvh.with(176 + 8, UInt64.max), "p_offset"),
        HostileKernel("notes longer than the file", Image.pvh.with(176 + 32, UInt64(0x8_0000)), "p_offset"),
        HostileKernel("notes of 16 EiB", Image.pvh.with(176 + 32, UInt64.max), "p_filesz"),
    ])
    func isRefused(_ kernel: HostileKernel) throws {
        try kernel.check()
    }

    @Test func anyByteOfTheHeadersMayBeAnything() throws {
        let memory = try GuestMemory(size: 0x400_0000)
        let map = try MemoryMap(memory)
        for offset in 4..<(64 + 3 * 56) {
            for value: UInt8 in [0, 0x7f, 0xff] {
                do {
                    let file = try Image.pvh.with(offset, value).file()
                    _ = try KernelImage.load(file, by: .automatic, into: memory, map: map)
                } catch let error as BootError {
                    #expect(!error.field.isEmpty)
                }
            }
        }
    }

    /// The Linux image with one more segment.
    static func with(_ segment: Image.Segment) -> Image {
        .elf(entry: 0x100_0010, Image.linuxSegments + [segment])
    }

    /// The Linux image with a note segment of these contents.
    static func noted(_ contents: [UInt8]) -> Image { with(.init(type: 4, contents: contents)) }

    /// The PVH image's notes with one field changed.
    static func notedWith(_ offset: Int, _ value: UInt32) -> Image {
        var notes = Image.note(entry: UInt32(0x100_0020))
        notes.store(value, at: offset)
        return noted(notes)
    }

    /// A file of many segments over the same memory would keep the loader busy for as long as it likes.
    @Test func overlapIsFoundBeforeAnySegmentIsRead() throws {
        let segment = Image.Segment(address: 0x100_0000, contents: [1, 2, 3, 4])
        let image = Image.elf(entry: 0x100_0000, [Image.Segment](repeating: segment, count: 1000))
        let memory = try GuestMemory(size: 0x400_0000)
        let error = #expect(throws: BootError.self) { try load(image, into: memory) }
        #expect(error?.problem.contains("overlap") == true)
        #expect(try memory.slice(at: GuestAddress(0), count: 0x400_0000).isZero)
    }
}
