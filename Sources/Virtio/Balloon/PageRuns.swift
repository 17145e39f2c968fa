import Memory

/// The pages of a request, merged into runs.
///
/// Numbers that ascend or descend by one, as allocators hand out pages, become one run; each number is read once. A
/// request may name pages twice, in any order, and pages that are not memory.
struct PageRuns {
    /// A range of guest addresses, all of it in one region of memory.
    struct Run: Equatable {
        var start: UInt64
        var count: UInt64

        var end: UInt64 { start &+ count }
    }

    /// The most numbers of one request that are read; the rest is ignored. Linux sends 256 at most.
    static let mostPages = 1 << 14
    /// The longest run, in bytes.
    static let longestRun: UInt64 = 64 << 20

    private let memory: GuestMemory
    private var left: Int
    /// The start of a page that did not fit the last run.
    private var next: UInt64?
    /// The count of numbers that name no memory.
    private(set) var invalidPages = 0

    init(_ memory: GuestMemory) {
        self.memory = memory
        left = Self.mostPages
    }

    /// The next run of pages in `numbers`; nil at their end.
    mutating func take(from numbers: SliceList) -> Run? {
        guard let first = next ?? readPage(numbers) else { return nil }
        next = nil
        var run = Run(start: first, count: balloonPageSize)
        while let page = readPage(numbers) {
            if page >= run.start, page < run.end { continue }
            var longer = run
            longer.count &+= balloonPageSize
            if page &+ balloonPageSize == run.start { longer.start = page } else if page != run.end { longer.count = 0 }
            guard longer.count > 0, longer.count <= Self.longestRun,
                memory.slice(at: longer.start, count: longer.count) != nil
            else {
                next = page
                break
            }
            run = longer
        }
        return run
    }

    /// The address of the next page that is memory.
    private mutating func readPage(_ numbers: SliceList) -> UInt64? {
        while left > 0, let number = numbers.take(UInt32.self) {
            left -= 1
            let address = UInt64(number) &* balloonPageSize
            if memory.slice(at: address, count: balloonPageSize) != nil { return address }
            invalidPages += 1
        }
        return nil
    }
}
