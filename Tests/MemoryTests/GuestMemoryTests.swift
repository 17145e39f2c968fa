import Host
import Memory
import Testing

@Suite struct GuestMemoryTests {
    /// Two regions with a hole between them: 0 to 0x3000, and 0x8000 to 0x9000.
    private func memory() throws -> GuestMemory {
        try GuestMemory(
            ranges: [(GuestAddress(0), 0x3000), (GuestAddress(0x8000), 0x1000)],
            mapping: try MappedRegion(anonymous: 0x4000))
    }

    @Test func regionsHoldTheirBytes() throws {
        let memory = try memory()
        try memory.store(UInt64(0x1122_3344_5566_7788), at: GuestAddress(0x2ff8))
        #expect(try memory.load(at: GuestAddress(0x2ff8), as: UInt64.self) == 0x1122_3344_5566_7788)
        try memory.write([1, 2, 3], at: GuestAddress(0x8ffd))
        #expect(try memory.read(count: 3, at: GuestAddress(0x8ffd)) == [1, 2, 3])
        #expect(memory.host.byte(at: 0x3fff) == 3)
        #expect(memory.size == 0x4000)
        #expect(memory.regions.map(\.fileOffset) == [0, 0x3000])
    }

    @Test(
        arguments: [
            (0x2fff, 2), (0x3000, 1), (0x7fff, 1), (0x7fff, 2), (0x9000, 1), (0x8fff, 2), (0, 0x3001), (0, UInt64.max),
            (UInt64.max, 1), (UInt64.max, 2), (UInt64.max - 0xfff, 0x2000), (0x8000, UInt64.max),
        ] as [(UInt64, UInt64)])
    func nothingOutsideIsReached(address: UInt64, count: UInt64) throws {
        #expect(try memory().slice(at: address, count: count) == nil as HostSlice?)
    }

    @Test func overlappingOrWrappingRegionsAreRefused() throws {
        for ranges in [
            [(GuestAddress(0), 0x2000), (GuestAddress(0x1fff), 0x1000)],
            [(GuestAddress(UInt64.max - 0xfff), 0x2000)],
            [(GuestAddress(0), 0x5000)], [],
        ] as [[(GuestAddress, UInt64)]] {
            #expect(throws: Errno.invalidArgument) {
                _ = try GuestMemory(
                    ranges: ranges.map { (start: $0.0, count: $0.1) }, mapping: try MappedRegion(anonymous: 0x4000))
            }
        }
    }
}

private func == (a: HostSlice?, b: HostSlice?) -> Bool {
    a?.address == b?.address && a?.count == b?.count
}
