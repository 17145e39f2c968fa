import Host
import Memory
import Testing

@Suite struct DiscardTests {
    private static let page = HostProcess.pageSize

    @Test(
        arguments: [
            (0, 3, 0, 3), (0, 1, 0, 1), (1, 2, 1, 2),
        ])
    func wholePagesStay(start: Int, count: Int, expectedStart: Int, expectedCount: Int) throws {
        try expect(start * Self.page, count * Self.page, expectedStart, expectedCount)
    }

    @Test func pagesThatAreOnlyTouchedAreLeftOut() throws {
        try expect(1, 3 * Self.page - 1, 1, 2)
        try expect(0, 2 * Self.page + 1, 0, 2)
        try expect(Self.page - 1, Self.page + 2, 1, 1)
    }

    @Test func partsOfPagesAreNone() throws {
        for (start, count) in [(0, Self.page - 1), (1, Self.page), (1, 2 * Self.page - 2), (1, 1), (0, 0)] {
            let memory = try GuestMemory(size: 4 * Self.page)
            let slice = try memory.slice(at: GuestAddress(UInt64(start)), count: count)
            #expect(memory.wholePages(of: slice)?.count == nil, "\(count) bytes at \(start)")
        }
    }

    private func expect(_ start: Int, _ count: Int, _ firstPage: Int, _ pages: Int) throws {
        let memory = try GuestMemory(size: 4 * Self.page)
        let slice = try memory.slice(at: GuestAddress(UInt64(start)), count: count)
        let whole = try #require(memory.wholePages(of: slice))
        #expect(whole.address == memory.host.address + UInt(firstPage * Self.page))
        #expect(whole.count == pages * Self.page)
    }

    @Test func theAdviceIsThatOfTheMemorysKind() throws {
        #expect(try GuestMemory(size: Self.page).discardAdvice?.rawValue == MemoryAdvice.dontNeed.rawValue)
        let file = try FileDescriptor.memory(name: "test")
        try file.truncate(to: UInt64(Self.page))
        let mapping = try MappedRegion(file: file, count: Self.page, shared: true)
        let shared = try GuestMemory(
            ranges: [(GuestAddress(0), UInt64(Self.page))], mapping: mapping, file: consume file)
        #expect(shared.discardAdvice?.rawValue == MemoryAdvice.remove.rawValue)
        let huge = try GuestMemory(
            ranges: [(GuestAddress(0), UInt64(Self.page))], mapping: try MappedRegion(anonymous: Self.page),
            pageSize: 2 << 20)
        #expect(huge.discardAdvice == nil)
    }
}
