import Bus
import Host
import Memory
import Testing

@testable import Boot

@Suite struct MemoryMapTests {
    static let gib: UInt64 = 1 << 30

    @Test(
        arguments: [
            (256 << 20, [(0, 256 << 20)]),
            (3 * gib, [(0, 3 * gib)]),
            (3 * gib + 4096, [(0, 3 * gib), (4 * gib, 4096)]),
            (512 * gib, [(0, 3 * gib), (4 * gib, 509 * gib)]),
        ] as [(UInt64, [(UInt64, UInt64)])])
    func ramLeavesRoomForDevicesBelow4GiB(size: UInt64, regions: [(UInt64, UInt64)]) {
        let found = MemoryMap.regions(size: size, BoardLayout.microvm.memory)
        #expect(found.map(\.start.rawValue) == regions.map(\.0))
        #expect(found.map(\.count) == regions.map(\.1))
    }

    @Test func theMapListsRAMAndWhatIsReserved() throws {
        let memory = try GuestMemory(
            ranges: MemoryMap.regions(size: 6 * Self.gib, BoardLayout.microvm.memory),
            mapping: try MappedRegion(anonymous: 6 << 30))
        let map = try MemoryMap(memory)
        #expect(map.lowMemoryEnd == 3 * Self.gib)
        #expect(
            map.entries == [
                .init(start: 0, end: 0x9_fc00, kind: .ram),
                .init(start: 0x9_fc00, end: 0xa_0000, kind: .reserved),
                .init(start: 0xd_0000, end: 0x10_0000, kind: .reserved),
                .init(start: 0x10_0000, end: 0xc000_0000, kind: .ram),
                .init(start: 0x1_0000_0000, end: 0x1_c000_0000, kind: .ram),
            ])
    }

    @Test func pvhGetsTheSameMapAndTheModules() throws {
        let memory = try dirtyMemory()
        try load(.pvh, into: memory, initrd: Image(bytes: Image.pattern(0x1801)))
        var expected: [UInt8] = []
        for word: UInt32 in [0x336e_c578, 1, 0, 1] { expected.append(littleEndian: word) }
        for address: UInt64 in [0x6038, 0x2_0000, 0xe_0000, 0x6058] { expected.append(littleEndian: address) }
        for word: UInt32 in [4, 0] { expected.append(littleEndian: word) }
        for value: UInt64 in [0x3ff_e000, 0x1801, 0, 0] { expected.append(littleEndian: value) }
        for (start, size, type): (UInt64, UInt64, UInt64) in [
            (0, 0x9_fc00, 1), (0x9_fc00, 0x400, 2), (0xd_0000, 0x3_0000, 2), (0x10_0000, 0x3f0_0000, 1),
        ] {
            for value in [start, size, type] { expected.append(littleEndian: value) }
        }
        #expect(try memory.bytes(0x6000, expected.count) == expected)
    }

    @Test func pvhWithoutADiskHasNoModules() throws {
        let memory = try dirtyMemory()
        try load(.pvh, into: memory)
        #expect(try memory.value(0x600c, UInt32.self) == 0)
        #expect(try memory.value(0x6010, UInt64.self) == 0)
    }

    @Test(arguments: [0x1000, 0xf_f000, 0x10_0000])
    func memoryWithoutRoomForTheBootStructuresIsRefused(size: Int) throws {
        let memory = try GuestMemory(size: size)
        let error = #expect(throws: BootError.self) { try load(.linux, into: memory) }
        #expect(error?.place == "guest memory")
    }

    @Test func memoryThatDoesNotBeginAtZeroIsRefused() throws {
        let memory = try GuestMemory(
            ranges: [(GuestAddress(0x1000), 0x100_0000)], mapping: try MappedRegion(anonymous: 0x100_0000))
        #expect(throws: BootError.self) { try load(.linux, into: memory) }
    }

    @Test(arguments: [Int.min, -1, 0, 255, 256, Int.max])
    func aNumberOfCPUsNoTableCanHoldIsRefused(count: Int) throws {
        let error = #expect(throws: BootError.self) {
            try load(.linux, BootPlan(layout: .microvm, cpuCount: count), into: dirtyMemory())
        }
        #expect(error?.place == "-smp")
    }

    @Test func loadingAgainGivesTheSameMemory() throws {
        let memory = try dirtyMemory()
        let plan = BootPlan(
            commandLine: "a", layout: .microvm, cpuCount: 41, devices: CommandLineTests.devices, hasSerial: true)
        for kernel in [Image.bzImage(), .linux] {
            let first = try load(kernel, plan, into: memory)
            let before = try memory.bytes(0, 0x10_2000)
            let second = try load(kernel, plan, into: memory)
            #expect(first == second)
            #expect(try memory.bytes(0, 0x10_2000) == before)
        }
    }
}
