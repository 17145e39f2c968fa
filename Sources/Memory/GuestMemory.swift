import Glibc
public import Host

/// A guest access that memory cannot serve.
package struct MemoryError: Error, Equatable, CustomStringConvertible {
    package let address: GuestAddress
    package let count: UInt64

    package var description: String { "no guest memory for \(count) bytes at \(address)" }
}

/// The guest's RAM: the only place that turns a guest address into a host one.
///
/// Which regions there are never changes, so every thread may read the table without a lock. What the bytes hold
/// may change at any time: the guest's vCPUs write them.
@safe
public final class GuestMemory: @unchecked Sendable {
    /// One range of guest addresses, backed by one range of host memory.
    package struct Region: Sendable {
        package let start: GuestAddress
        package let memory: HostSlice
        /// Where the region begins in the file that backs it, for those who share it with another process.
        package let fileOffset: UInt64

        /// The first address after the region.
        package var end: GuestAddress { GuestAddress(start.rawValue &+ UInt64(memory.count)) }
    }

    /// The regions in rising order.
    package let regions: [Region]
    /// Size of all regions together, in bytes.
    package let size: UInt64
    /// The file that backs the memory, if there is one that can be shared.
    package let file: Int32?
    /// Bytes in each page that backs it: more than the host's usual ones where it comes from a hugetlbfs.
    package let pageSize: Int

    // A fixed table beside `regions`: an array's storage would cost a reference count on each translation.
    @usableFromInline let table: UnsafeMutablePointer<TableEntry>
    @usableFromInline let tableCount: Int
    private let mapping: MappedRegion
    private let descriptor: FileDescriptor?

    @safe
    @usableFromInline struct TableEntry {
        @usableFromInline let start: UInt64
        @usableFromInline let count: UInt64
        @usableFromInline let base: UnsafeMutableRawPointer
    }

    /// Lays `ranges` of guest addresses, in rising order, one after the other over `mapping`.
    ///
    /// - Parameters:
    ///   - ranges: start and length in bytes of each region.
    ///   - file: what `mapping` maps from its beginning, when it is shared with other processes.
    ///   - pageSize: bytes in each page of `mapping`.
    /// - Throws: `EINVAL` if the ranges overlap, wrap around, or do not fit the mapping.
    package init(
        ranges: [(start: GuestAddress, count: UInt64)], mapping: MappedRegion,
        file: consuming FileDescriptor? = nil, pageSize: Int = HostProcess.pageSize
    ) throws(Errno) {
        var regions: [Region] = []
        var offset = 0
        var end: UInt64 = 0
        for range in ranges {
            let (next, overflow) = range.start.rawValue.addingReportingOverflow(range.count)
            guard let count = Int(exactly: range.count), count > 0, !overflow, range.start.rawValue >= end,
                let memory = mapping.all.slice(at: offset, count: count)
            else { throw .invalidArgument }
            regions.append(Region(start: range.start, memory: memory, fileOffset: UInt64(offset)))
            offset += count
            end = next
        }
        guard !regions.isEmpty else { throw .invalidArgument }
        self.regions = regions
        self.mapping = mapping
        self.pageSize = pageSize
        self.file = file?.rawValue
        descriptor = file
        size = UInt64(offset)
        tableCount = regions.count
        unsafe table = .allocate(capacity: regions.count)
        for (index, region) in regions.enumerated() {
            unsafe (table + index).initialize(
                to: TableEntry(
                    start: region.start.rawValue, count: UInt64(region.memory.count), base: region.memory.pointer))
        }
    }

    deinit {
        unsafe table.deallocate()
    }

    /// Private, zeroed memory of `size` bytes from address 0, for tests and tools.
    package convenience init(size: Int) throws(Errno) {
        try self.init(
            ranges: [(GuestAddress(0), UInt64(clamping: size))], mapping: try MappedRegion(anonymous: size))
    }

    /// All of the memory as the host sees it, region after region.
    package var host: HostSlice { mapping.all }

    /// The host memory of `count` bytes at `address`, or nil unless all of them lie in one region.
    @inlinable
    public func slice(at address: UInt64, count: UInt64) -> HostSlice? {
        for index in 0..<tableCount {
            let entry = unsafe table[index]
            // Wraps for an address below the region, and is then too large.
            let offset = address &- entry.start
            if offset < entry.count {
                guard count <= entry.count - offset else { return nil }
                return unsafe HostSlice(
                    base: entry.base + Int(truncatingIfNeeded: offset), count: Int(truncatingIfNeeded: count))
            }
        }
        return nil
    }

    /// The host memory of `count` bytes at `address`.
    package func slice(at address: GuestAddress, count: Int) throws(MemoryError) -> HostSlice {
        guard count >= 0, let found = slice(at: address.rawValue, count: UInt64(count)) else {
            throw MemoryError(address: address, count: UInt64(max(0, count)))
        }
        return found
    }
}

extension GuestMemory {
    /// Writes `bytes` at `address`, all or nothing.
    package func write(_ bytes: [UInt8], at address: GuestAddress) throws(MemoryError) {
        try slice(at: address, count: bytes.count).copy(from: bytes)
    }

    /// A copy of `count` bytes at `address`.
    package func read(count: Int, at address: GuestAddress) throws(MemoryError) -> [UInt8] {
        try slice(at: address, count: count).bytes
    }

    /// Stores a little-endian integer.
    package func store<T: FixedWidthInteger>(_ value: T, at address: GuestAddress) throws(MemoryError) {
        try slice(at: address, count: MemoryLayout<T>.size).store(value, at: 0)
    }

    /// Loads a little-endian integer.
    package func load<T: FixedWidthInteger>(
        at address: GuestAddress, as type: T.Type = T.self
    ) throws(MemoryError) -> T {
        guard let value: T = try slice(at: address, count: MemoryLayout<T>.size).load(at: 0) else {
            throw MemoryError(address: address, count: UInt64(MemoryLayout<T>.size))
        }
        return value
    }
}
