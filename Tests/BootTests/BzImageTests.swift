import Bus
import Host
import Memory
import Testing

@testable import Boot

@Suite struct BzImageTests {
    @Test func theProtectedModePartIsLoadedAndEnteredAt64Bits() throws {
        let memory = try dirtyMemory()
        let state = try load(.bzImage(), into: memory)
        #expect(state.rip == 0x10_0200)
        #expect(state.rsi == 0x7000)
        #expect(state.efer == 0x500)
        #expect(try memory.bytes(0x10_0000, 0x1000) == Image.pattern(0x1000))
        #expect(try memory.bytes(0x10_1000, 0x100).allSatisfy { $0 == 0 })
    }

    @Test func theHeaderGoesIntoTheZeroPageWithTheLoadersFields() throws {
        let memory = try dirtyMemory()
        let image = Image.bzImage()
        try load(
            image, BootPlan(commandLine: "quiet", layout: .microvm, cpuCount: 1), into: memory,
            initrd: Image(bytes: Image.pattern(0x1801)))

        var expected = [UInt8](repeating: 0, count: 0x1000)
        expected.replaceSubrange(0x1f1..<0x26c, with: image.bytes[0x1f1..<0x26c])
        expected.store(UInt64(0xe_0000), at: 0x70)
        expected.store(UInt8(4), at: 0x1e8)
        expected.store(UInt8(0xff), at: 0x210)
        expected.store(UInt32(0x3ff_e000), at: 0x218)
        expected.store(UInt32(0x1801), at: 0x21c)
        expected.store(UInt32(0x2_0000), at: 0x228)
        let e820: [(UInt64, UInt64, UInt32)] = [
            (0, 0x9_fc00, 1), (0x9_fc00, 0x400, 2), (0xd_0000, 0x3_0000, 2), (0x10_0000, 0x3f0_0000, 1),
        ]
        for (index, entry) in e820.enumerated() {
            expected.store(entry.0, at: 0x2d0 + index * 20)
            expected.store(entry.1, at: 0x2d8 + index * 20)
            expected.store(entry.2, at: 0x2e0 + index * 20)
        }
        #expect(try memory.bytes(0x7000, 0x1000) == expected)
        #expect(try memory.bytes(0x2_0000, 6) == Array("quiet\0".utf8))
        #expect(try memory.bytes(0x3ff_e000, 0x1801) == Image.pattern(0x1801))
    }

    /// What is odd, but what the boot protocol allows.
    @Test(arguments: [
        ("setup_sects 0 means 4", Image.bzImage(payload: 0x2000).with(0x1f1, UInt8(0)).with(0x1f4, UInt32(0x100))),
        ("a header that ends early", .bzImage().with(0x201, UInt8(0))),
        ("a header that claims to reach beyond its place", .bzImage().with(0x201, UInt8(0xff))),
        ("init_size 0", .bzImage().with(0x260, UInt32(0))),
        ("syssize 0", .bzImage().with(0x1f4, UInt32(0))),
        ("not relocatable, so any alignment", .bzImage().with(0x234, UInt8(0)).with(0x230, UInt32(0))),
        ("init_size up to the end of memory", .bzImage().with(0x260, UInt32(0x300_0000))),
        ("more behind the kernel, such as a signature", Image(bytes: Image.bzImage().bytes + [1, 2, 3])),
    ])
    func isAccepted(_ name: String, _ image: Image) throws {
        let memory = try dirtyMemory()
        #expect(try load(image, into: memory).rip == 0x10_0200)
        // Behind the header there are other fields of the zero page.
        #expect(try memory.bytes(0x7290, 0x40).allSatisfy { $0 == 0 })
    }

    @Test(arguments: [
        HostileKernel("wrong magic", .bzImage().with(0x202, UInt32(0x5372_6449)), "header"),
        HostileKernel("version 2.11", .bzImage().with(0x206, UInt16(0x20b)), "version"),
        HostileKernel("version 0", .bzImage().with(0x206, UInt16(0)), "version"),
        HostileKernel("cut after boot_flag", Image.bzImage().cut(0x200), "header"),
        HostileKernel("cut in the header", Image.bzImage().cut(0x240), "setup header"),
        HostileKernel("cut before init_size", Image.bzImage().cut(0x263), "setup header"),
        HostileKernel("zImage", .bzImage().with(0x211, UInt8(0)), "loadflags"),
        HostileKernel("32-bit kernel", .bzImage().with(0x236, UInt16(2)), "xloadflags"),
        HostileKernel("setup_sects 255", .bzImage().with(0x1f1, UInt8(255)), "setup_sects"),
        HostileKernel(
            "setup_sects 0 in a file without four", .bzImage(payload: 0x400).with(0x1f1, UInt8(0)), "setup_sects"),
        HostileKernel("no room for the entry", Image.bzImage().cut(3 * 512 + 0x200), "setup_sects"),
        HostileKernel("no payload at all", Image.bzImage().cut(3 * 512), "setup_sects"),
        HostileKernel("truncated payload", Image.bzImage().cut(3 * 512 + 0xfe0), "syssize"),
        HostileKernel("syssize at its maximum", .bzImage().with(0x1f4, UInt32.max), "syssize"),
        HostileKernel("code32_start 0", .bzImage().with(0x214, UInt32(0)), "code32_start"),
        HostileKernel("code32_start in the boot structures", .bzImage().with(0x214, UInt32(0x7000)), "code32_start"),
        HostileKernel("code32_start just below 1 MiB", .bzImage().with(0x214, UInt32(0xf_f000)), "code32_start"),
        HostileKernel("code32_start at the end of RAM", .bzImage().with(0x214, UInt32(0x3ff_f800)), "code32_start"),
        HostileKernel("code32_start at its maximum", .bzImage().with(0x214, UInt32.max), "code32_start"),
        HostileKernel("kernel_alignment 0", .bzImage().with(0x230, UInt32(0)), "kernel_alignment"),
        HostileKernel("kernel_alignment 3", .bzImage().with(0x230, UInt32(3)), "kernel_alignment"),
        HostileKernel("kernel_alignment 2 GiB", .bzImage().with(0x230, UInt32(0x8000_0000)), "init_size"),
        HostileKernel("pref_address at its maximum", .bzImage().with(0x258, UInt64.max), "pref_address"),
        HostileKernel(
            "pref_address at its maximum, not relocatable",
            .bzImage().with(0x258, UInt64.max).with(0x234, UInt8(0)), "init_size"),
        HostileKernel(
            "pref_address 0, not relocatable", .bzImage().with(0x258, UInt64(0)).with(0x234, UInt8(0)), "init_size"),
        HostileKernel("pref_address beyond RAM", .bzImage().with(0x258, UInt64(0x400_0000)), "init_size"),
        HostileKernel("init_size one byte too large", .bzImage().with(0x260, UInt32(0x300_0001)), "init_size"),
        HostileKernel("init_size at its maximum", .bzImage().with(0x260, UInt32.max), "init_size"),
        HostileKernel("payload larger than RAM", .bzImage(payload: 0x400_0000), "code32_start"),
        HostileKernel("asked to start by PVH", .bzImage(), "format", by: .pvh),
    ])
    func isRefused(_ kernel: HostileKernel) throws {
        try kernel.check()
    }

    /// What no kernel image of any kind may do is trap: each of the header's bytes, with each of a few values.
    @Test func anyByteOfTheHeaderMayBeAnything() throws {
        let memory = try GuestMemory(size: 0x400_0000)
        let map = try MemoryMap(memory)
        for offset in 0x1f1..<0x270 {
            for value: UInt8 in [0, 0x7f, 0xff] {
                do {
                    let file = try Image.bzImage().with(offset, value).file()
                    _ = try KernelImage.load(file, by: .automatic, into: memory, map: map)
                } catch let error as BootError {
                    #expect(!error.field.isEmpty)
                }
            }
        }
    }
}
