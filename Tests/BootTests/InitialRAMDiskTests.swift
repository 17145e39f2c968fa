import Memory
import Testing

@testable import Boot

@Suite struct InitialRAMDiskTests {
    @Test(
        arguments: [
            (1, 0x3ff_f000), (0xfff, 0x3ff_f000), (0x1000, 0x3ff_f000), (0x1001, 0x3ff_e000), (0x10_0000, 0x3f0_0000),
        ] as [(Int, UInt64)])
    func liesOnAPageAtTheEndOfRAM(size: Int, start: UInt64) throws {
        let memory = try dirtyMemory()
        try load(.linux, into: memory, initrd: Image(bytes: Image.pattern(size)))
        #expect(try memory.value(0x7218, UInt32.self) == UInt32(start))
        #expect(try memory.value(0x721c, UInt32.self) == UInt32(size))
        #expect(try memory.bytes(start, size) == Image.pattern(size))
    }

    @Test func staysBelow896MiBInLargeMemory() throws {
        let memory = try GuestMemory(size: 0x4000_0000)
        try load(.linux, into: memory, initrd: Image(bytes: Image.pattern(0x2000)))
        #expect(try memory.value(0x7218, UInt32.self) == 0x37ff_d000)
    }

    @Test func staysBelowTheKernelsOwnLimit() throws {
        let memory = try dirtyMemory()
        let kernel = Image.bzImage().with(0x22c, UInt32(0x1ff_ffff))
        try load(kernel, into: memory, initrd: Image(bytes: Image.pattern(0x2000)))
        #expect(try memory.value(0x7218, UInt32.self) == 0x1ff_d000)
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kernel: Image
        let size: Int

        init(_ name: String, _ kernel: Image, _ size: Int) {
            testDescription = name
            self.kernel = kernel
            self.size = size
        }
    }

    @Test(arguments: [
        Refusal("larger than RAM", .linux, 0x400_0001),
        Refusal("as large as RAM", .linux, 0x400_0000),
        Refusal("down to below 1 MiB", .bzImage().with(0x260, UInt32(0)), 0x3f0_0001),
        Refusal("touches a segment", .linux, 0x1ff_f001),
        Refusal("touches what a kernel needs to unpack itself", .bzImage(), 0x2c0_0001),
        Refusal("touches a raw binary", Image(bytes: [0xf4]), 0x2ff_f001),
        Refusal("initrd_addr_max 0", .bzImage().with(0x22c, UInt32(0)), 1),
        Refusal("initrd_addr_max inside the kernel", .bzImage().with(0x22c, UInt32(0x110_0000)), 0x1000),
        Refusal("initrd_addr_max below 1 MiB", .bzImage().with(0x22c, UInt32(0xf_ffff)), 0x1000),
    ])
    func isRefused(_ refusal: Refusal) throws {
        let disk = Image(bytes: [UInt8](repeating: 7, count: refusal.size))
        let error = #expect(throws: BootError.self) { try load(refusal.kernel, into: dirtyMemory(), initrd: disk) }
        #expect(error?.place == "-initrd /test/image")
        #expect(error?.field == "size")
    }

    @Test(arguments: [(Image.linux, 0x1ff_f000), (.bzImage(), 0x2c0_0000)])
    func justFittingIsAccepted(kernel: Image, size: Int) throws {
        try load(kernel, into: dirtyMemory(), initrd: Image(bytes: [UInt8](repeating: 7, count: size)))
    }
}
