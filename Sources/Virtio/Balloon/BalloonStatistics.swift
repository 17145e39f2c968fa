/// How the guest uses its memory, as far as its driver tells (virtio 1.2 section 5.5.6.3). Amounts of memory are in
/// bytes, all else is a number of events since the guest's start.
package struct BalloonStatistics: Sendable {
    /// What the driver can tell, by the names that QEMU gives it, in the order of the numbers in a request.
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

    /// What the driver has told of each item, by its number.
    private var values = InlineArray<16, UInt64?>(repeating: nil)

    /// What the driver has told, in the order of the items.
    package var told: [(item: Item, value: UInt64)] {
        zip(Item.allCases, values.indices).compactMap { item, number in values[number].map { (item, $0) } }
    }

    /// Memory for whoever wants it, in bytes, with what caches can give back; only what is free, of a driver that does
    /// not know the former.
    var available: UInt64? { values[Self.availableMemory] ?? values[Self.freeMemory] }

    private static let freeMemory = 4
    private static let availableMemory = 6

    /// How many entries of one request are read: enough for all items of the specification and some to come.
    private static let mostEntries = 64

    /// Takes what `buffers` hold. Items that are not known and a last entry that is cut off are passed over.
    init(from buffers: SliceList) {
        for _ in 0..<Self.mostEntries {
            guard buffers.byteCount >= 10, let tag = buffers.take(UInt16.self), let value = buffers.take(UInt64.self)
            else { return }
            if values.indices.contains(Int(tag)) { values[Int(tag)] = value }
        }
    }
}
