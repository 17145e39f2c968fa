/// The guest's memory statistics, as its driver reports them (virtio 1.2 section 5.5.6.3). Amounts of memory are in
/// bytes; other items count events since the guest's start.
package struct BalloonStatistics: Sendable {
    /// The items by QEMU's names, in the order of their numbers in a request.
    package enum Item: String, CaseIterable, Sendable {
        case swapIn = "swap-in"
        case swapOut = "swap-out"
        case majorFaults = "major-faults"
        case minorFaults = "minor-faults"
        case freeMemory = "free-memory"
        case totalMemory = "total-memory"
        case availableMemory = "available-memory"
        case diskCaches = "disk-caches"
        case hugePageAllocations = "htlb-pgalloc"
        case hugePageFailures = "htlb-pgfail"
        case oomKills = "oom-kills"
        case allocationStalls = "alloc-stalls"
        case asyncScans = "async-scans"
        case directScans = "direct-scans"
        case asyncReclaims = "async-reclaims"
        case directReclaims = "direct-reclaims"
    }

    /// The value of each item, by its number.
    private var values = InlineArray<16, UInt64?>(repeating: nil)

    /// The items that the driver has reported, in their order.
    package var reported: [(item: Item, value: UInt64)] {
        zip(Item.allCases, values.indices).compactMap { item, number in values[number].map { (item, $0) } }
    }

    /// The values by the items' numbers; nil for items that the driver left out.
    var all: [UInt64?] { values.indices.map { values[$0] } }

    /// Available memory in bytes, caches included; free memory, if the driver does not report the former.
    var available: UInt64? { values[Self.availableMemory] ?? values[Self.freeMemory] }

    private static let freeMemory = 4
    private static let availableMemory = 6

    /// The most entries of one request that are read: all items of the specification and some to come.
    private static let mostEntries = 64

    /// Statistics with these values, by the items' numbers; nil if there are too few or too many.
    init?(_ all: [UInt64?]) {
        guard all.count == values.count else { return nil }
        for (number, value) in all.enumerated() { values[number] = value }
    }

    /// Reads the entries in `buffers`. Skips unknown items and a truncated last entry.
    init(from buffers: SliceList) {
        for _ in 0..<Self.mostEntries {
            guard buffers.byteCount >= 10, let tag = buffers.take(UInt16.self), let value = buffers.take(UInt64.self)
            else { return }
            if values.indices.contains(Int(tag)) { values[Int(tag)] = value }
        }
    }
}
