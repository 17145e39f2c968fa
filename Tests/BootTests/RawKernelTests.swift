import Bus
import Host
import Memory
import Testing

@testable import Boot

@Suite struct RawKernelTests {
    @Test func theWholeFileIsLoadedAt16MiBAndEnteredAtItsFirstByte() throws {
        let memory = try dirtyMemory()
        let state = try load(Image(bytes: Image.pattern(5000)), into: memory)
        #expect(state.rip == 0x100_0000)
        #expect(state.rsi == 0x7000)
        #expect(try memory.bytes(0x100_0000, 5000) == Image.pattern(5000))
    }

    @Test func itGetsStratoVirtsBoardWithoutACPI() throws {
        let memory = try dirtyMemory()
        try load(
            Image(bytes: [0xf4]),
            BootPlan(commandLine: "quiet", layout: .microvm, cpuCount: 1, devices: CommandLineTests.devices),
            into: memory)
        let text = try memory.bytes(0x2_0000, 64)
        #expect(String(decoding: text, as: UTF8.self).hasPrefix("quiet virtio_mmio.device=512@0x"))
        #expect(try memory.bytes(0x7070, 8) == [UInt8](repeating: 0, count: 8))
    }

    @Test func oneByteIsEnough() throws {
        #expect(try load(Image(bytes: [0xf4]), into: dirtyMemory()).rip == 0x100_0000)
    }

    @Test func aFileLargerThanTheMemoryIsRefused() throws {
        try HostileKernel(
            "too large", Image(bytes: [UInt8](repeating: 1, count: 0x300_0001)), "size of the raw binary"
        ).check()
        try HostileKernel("PVH", Image(bytes: [0xf4]), "format", by: .pvh).check()
    }

    /// Head, and what the error says of it.
    private static let foreign: [(head: [UInt8], problem: String)] = [
        ([0x1f, 0x8b, 8, 0], "gzip -dc"), ([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], "xz -dc"),
        ([0x28, 0xb5, 0x2f, 0xfd], "zstd -dc"), (Array("BZh9".utf8), "bzip2 -dc"), ([0x5d, 0, 0, 0x80], "by lzma"),
        ([0x04, 0x22, 0x4d, 0x18], "lz4 -dc"), ([0x02, 0x21, 0x4c, 0x18], "lz4 -dc"),
        ([0x89, 0x4c, 0x5a, 0x4f], "lzop -dc"), (Array("070701".utf8) + [0], "-initrd"),
        ([0x27, 0x05, 0x19, 0x56], "U-Boot"),
        ([0x4d, 0x5a, 0, 0x91] + [UInt8](repeating: 0, count: 52) + Array("ARMd".utf8), "AArch64"),
        ([0x4d, 0x5a, 0, 0] + Array("zimg".utf8), "zboot"), (pe(0x8664), "without Linux's boot header"),
        (pe(0xaa64), "another architecture"), (Array("no kernel\n".utf8), "is text"),
    ]

    private static func pe(_ machine: UInt16) -> [UInt8] {
        var image = Image(bytes: [0x4d, 0x5a] + [UInt8](repeating: 0, count: 198))
        image.set(0x3c, UInt32(128))
        image.set(128, UInt32(0x4550))
        image.set(132, machine)
        return image.bytes
    }

    @Test(arguments: foreign) func aFileInAnotherFormatIsRefusedByName(_ head: [UInt8], _ problem: String) throws {
        let file = Image(bytes: head + [UInt8](repeating: head.last == 0x0a ? 0x20 : 0xff, count: 600))
        for options in ["", "acpi=off"] {
            let error = #expect(throws: BootError.self) {
                let plan = BootPlan(commandLine: options, layout: .microvm, cpuCount: 1)
                if options.isEmpty { _ = try plan.usesACPI(file.file()) }
                _ = try plan.load(kernel: file.file(), initrd: nil, into: dirtyMemory())
            }
            #expect(error?.field == "format")
            #expect(error?.problem.contains(problem) == true, "\(error.map(String.init(describing:)) ?? "")")
        }
    }

    @Test func memoryThatEndsBelow16MiBHasNoRoomForIt() throws {
        #expect(throws: BootError.self) { try load(Image(bytes: [0xf4]), into: dirtyMemory(0x100_0000)) }
    }

    @Test func filesThatAreNoFilesAreRefused() throws {
        for (path, field, problem) in [
            ("/", "file", "is a directory"), ("/dev/null", "file", "is a characterDevice"),
            ("/nonexistent", "file", "No such file"), ("/a\0b", "file", "Invalid argument"),
        ] {
            let error = #expect(throws: BootError.self) { _ = try BootFile(.initrd, path: path) }
            #expect(error?.place == "-initrd \(path)")
            #expect(error?.field == field)
            #expect(error?.problem.contains(problem) == true)
        }
        let empty = #expect(throws: BootError.self) { _ = try Image(bytes: []).file() }
        #expect(empty?.description == "-kernel /test/image: file: is empty")
    }

    @Test func aFileThatShrinksIsRefused() throws {
        let descriptor = try FileDescriptor.memory(name: "shrinking")
        try descriptor.truncate(to: 0x3000)
        let shrink = try descriptor.duplicate()
        let kernel = try BootFile(.kernel, path: "/test/image", descriptor: descriptor)
        try shrink.truncate(to: 0x1000)
        let memory = try dirtyMemory()
        let error = #expect(throws: BootError.self) {
            _ = try BootPlan(layout: .microvm, cpuCount: 1).load(kernel: kernel, initrd: nil, into: memory)
        }
        #expect(error?.problem == "became shorter while it was read")
    }
}
