import Bus
import Host
import Memory
import Options
import Testing

@testable import VMM

/// The configuration of a command line.
func options(_ line: String) throws -> LaunchOptions {
    let words = ("-kernel /k -initrd /i -qmp unix:/q,server,nowait " + line).split(separator: " ").map(String.init)
    guard case .launch(let options) = try LaunchOptions.parse(words, .microvm) else { throw NotALaunch() }
    return options
}

struct NotALaunch: Error {}

@Suite struct GuestMemoryOptionsTests {
    @Test(arguments: ["", "-machine microvm,mem-share=on", "-machine microvm,dump-guest-core=off", "-mem-prealloc"])
    func memoryHasItsSizeAndReadsAsZero(line: String) throws {
        let memory = try GuestMemory.make(try options("-m 128 " + line), BoardLayout.microvm.memory)
        #expect(memory.size == 128 << 20)
        #expect(try memory.load(at: GuestAddress((128 << 20) - 8), as: UInt64.self) == 0)
        #expect((memory.file != nil) == line.contains("mem-share"))
    }

    @Test func memoryBeyondThreeGiBGoesOnAtFourGiB() throws {
        let memory = try GuestMemory.make(try options("-m 4096"), BoardLayout.microvm.memory)
        #expect(memory.regions.map(\.start) == [GuestAddress(0), GuestAddress(0x1_0000_0000)])
        #expect(memory.slice(at: 0xc000_0000, count: 1) == nil)
        try memory.store(UInt8(7), at: GuestAddress(0x1_0000_0000))
        #expect(memory.host.byte(at: 0xc000_0000) == 7)
    }

    @Test func aFileHoldsTheMemoryAndGrowsToItsSize() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/memory"
        let memory = try GuestMemory.make(
            try options("-m 128 -machine microvm,mem-share=on -mem-path \(path)"), BoardLayout.microvm.memory)
        try memory.store(UInt32(0x1234_5678), at: GuestAddress(4096))
        let file = try FileDescriptor.open(path, .readOnly)
        #expect(try FileStatus(of: file).size == 128 << 20)
        #expect(try file.read(count: 4, at: 4096) == [0x78, 0x56, 0x34, 0x12])
    }

    @Test func aDirectoryGetsAFileWithoutAName() throws {
        let folder = try TemporaryFolder()
        _ = try GuestMemory.make(try options("-m 128 -mem-path \(folder.path)"), BoardLayout.microvm.memory)
        #expect(try folder.contents().isEmpty)
    }

    @Test func aFileThatIsTooShortIsRefusedByName() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/short"
        try FileDescriptor.open(path, [.readWrite, .create]).truncate(to: 4096)
        let error = #expect(throws: MachineError.self) {
            _ = try GuestMemory.make(try options("-m 128 -mem-path \(path)"), BoardLayout.microvm.memory)
        }
        #expect(error?.description == "-mem-path \(path): the file has 4096 bytes, -m wants 134217728")
    }

    @Test func whatIsNoFileIsRefused() throws {
        let error = #expect(throws: MachineError.self) {
            _ = try GuestMemory.make(try options("-m 128 -mem-path /dev/null"), BoardLayout.microvm.memory)
        }
        #expect(error?.description == "-mem-path /dev/null: is neither a directory nor a regular file")
    }

    @Test(arguments: [
        ("memory-backend-ram", false), ("memory-backend-ram,share=on", true), ("memory-backend-memfd", true),
        ("memory-backend-memfd,share=off", false), ("memory-backend-ram,mem-prealloc=on,dump-guest-core=off", false),
        ("memory-backend-file,mem-path=/tmp", true),
    ])
    func anObjectIsTheMemory(kind: String, isShared: Bool) throws {
        let object = "-object \(kind),id=ram0,size=128M -machine microvm,memory-backend=ram0"
        let memory = try GuestMemory.make(try options("-m 128 " + object), BoardLayout.microvm.memory)
        #expect(memory.size == 128 << 20)
        #expect((memory.file != nil) == isShared)
        #expect(memory.pageSize == HostProcess.pageSize)
    }

    @Test func aNodeThatIsNotThereIsRefusedByName() throws {
        let object = "-object memory-backend-ram,id=ram0,size=128M,host-nodes=127,policy=bind"
        let error = #expect(throws: MachineError.self) {
            _ = try GuestMemory.make(
                try options("-m 128 \(object) -machine microvm,memory-backend=ram0"), BoardLayout.microvm.memory)
        }
        let text = error?.description ?? ""
        #expect(
            text.hasPrefix(
                "-object memory-backend-ram,id=ram0: cannot take memory from host-nodes=127 with policy=bind: "))
    }

    @Test func preallocationBeyondTheHostsMemoryIsRefusedBeforeItIsTried() throws {
        let error = #expect(throws: MachineError.self) {
            _ = try GuestMemory.make(try options("-m 512G -mem-prealloc"), BoardLayout.microvm.memory)
        }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("-mem-prealloc: the guest's memory is 524288 MiB, the host has "))
    }

    @Test func largeMemoryBeginsAtABorderOfHugePages() throws {
        for _ in 0..<8 {
            let memory = try GuestMemory.make(try options("-m 128"), BoardLayout.microvm.memory)
            #expect(memory.host.address % (2 << 20) == 0)
        }
    }
}
