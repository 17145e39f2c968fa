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
            Image(bytes: [0xf4]), BootPlan(commandLine: "quiet", cpuCount: 1, devices: CommandLineTests.devices),
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
            _ = try BootPlan(cpuCount: 1).load(kernel: kernel, initrd: nil, into: memory)
        }
        #expect(error?.problem == "became shorter while it was read")
    }
}
