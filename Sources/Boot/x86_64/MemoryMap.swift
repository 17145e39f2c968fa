package import Bus
package import Memory

/// The guest's physical memory map (E820 for Linux, the memory map of PVH).
package struct MemoryMap: Equatable, Sendable {
    /// Types, with the numbers of E820.
    enum Kind: UInt32 {
        case ram = 1
        case reserved = 2
    }

    struct Entry: Equatable {
        let start: UInt64
        let end: UInt64
        let kind: Kind
    }

    /// The entries, by ascending address.
    let entries: [Entry]
    /// End of the RAM that begins at address 0.
    let lowMemoryEnd: UInt64

    /// The guest addresses that `size` bytes of RAM occupy on a board.
    package static func regions(size: UInt64, _ board: BoardLayout.Memory) -> [(start: GuestAddress, count: UInt64)] {
        guard size > board.lowEnd else { return [(GuestAddress(0), size)] }
        return [(GuestAddress(0), board.lowEnd), (GuestAddress(board.highStart), size - board.lowEnd)]
    }

    /// Describes `memory`, with the reserved areas of `Layout` below 1 MiB.
    ///
    /// - Throws: if RAM does not begin at address 0, or does not reach beyond 1 MiB.
    init(_ memory: GuestMemory) throws(BootError) {
        guard let low = memory.regions.first, low.start == GuestAddress(0), low.end.rawValue > Layout.highMemory else {
            throw BootError(
                place: "guest memory", field: "size", problem: "has to be more than 1 MiB from address 0 on")
        }
        lowMemoryEnd = low.end.rawValue
        entries =
            [
                Entry(start: 0, end: Layout.ebda, kind: .ram),
                Entry(start: Layout.ebda, end: Layout.ebdaEnd, kind: .reserved),
                Entry(start: Layout.firmware, end: Layout.highMemory, kind: .reserved),
                Entry(start: Layout.highMemory, end: lowMemoryEnd, kind: .ram),
            ]
            + memory.regions.dropFirst().map {
                Entry(start: $0.start.rawValue, end: $0.end.rawValue, kind: .ram)
            }
    }
}
