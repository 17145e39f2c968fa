import CHost
import Glibc

/// A range of address space that this value owns and unmaps.
@safe
package final class MappedRegion: @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    /// Length in bytes.
    package let count: Int

    /// Maps `count` bytes, zeroed and private to this process. Where the region is large it begins at a border of
    /// huge pages, so that the kernel may back it with those; kernels before 6.7 don't see to that by themselves.
    package init(anonymous count: Int) throws(Errno) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        self.count = count
        guard count >= Self.hugePage else {
            unsafe base = try Self.map(count, flags, -1, 0)
            return
        }
        let (room, overflow) = count.addingReportingOverflow(Self.hugePage)
        if overflow { throw .noMemory }
        let start = unsafe try Self.map(room, flags, -1, 0)
        let excess = Int(bitPattern: start) & (Self.hugePage - 1)
        let skipped = excess == 0 ? 0 : Self.hugePage - excess
        unsafe base = start + skipped
        if skipped > 0 { unsafe munmap(start, skipped) }
        // The end of what is left may lie inside a page, which belongs to the region.
        let page = HostProcess.pageSize
        let used = (count &+ page &- 1) / page * page
        if room &- skipped > used { unsafe munmap(base + used, room - skipped - used) }
    }

    /// The most common size of huge pages, in bytes.
    private static let hugePage = 2 << 20

    /// Maps `count` bytes of `file` from `offset`; writes reach the file if `shared`.
    ///
    /// - Throws: `ENOMEM` also where the file's huge pages do not suffice: they are set aside here.
    package init(
        file: borrowing FileDescriptor, offset: UInt64 = 0, count: Int, shared: Bool
    ) throws(Errno) {
        guard let offset = off_t(exactly: offset) else { throw .invalidArgument }
        unsafe base = try Self.map(
            count, shared ? MAP_SHARED : MAP_PRIVATE, file.rawValue, offset)
        self.count = count
    }

    deinit {
        unsafe munmap(base, count)
    }

    private static func map(
        _ count: Int, _ flags: Int32, _ file: Int32, _ offset: off_t
    ) throws(Errno) -> UnsafeMutableRawPointer {
        guard count > 0 else { throw .invalidArgument }
        let address = unsafe mmap(nil, count, PROT_READ | PROT_WRITE, flags, file, offset)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw .current }
        return unsafe address
    }

    /// The whole region; valid as long as it is mapped.
    package var all: HostSlice { unsafe HostSlice(base: base, count: count) }
}

/// What to tell the kernel about the use of memory; the argument of `madvise`.
package struct MemoryAdvice: RawRepresentable, Sendable {
    package let rawValue: Int32

    package init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    package static let dontDump = MemoryAdvice(rawValue: MADV_DONTDUMP)
    /// Free the pages that only this process has; what they held is lost.
    package static let dontNeed = MemoryAdvice(rawValue: MADV_DONTNEED)
    /// Free the pages of a shared file, for all who map it; what they held is lost.
    package static let remove = MemoryAdvice(rawValue: MADV_REMOVE)
    /// Fault every page in for writing, as if each were touched (Linux 5.14).
    package static let populateWrite = MemoryAdvice(rawValue: 23)
}

/// How memory is spread over the host's NUMA nodes; the mode of `mbind`.
package enum MemoryPolicy: Int32, Sendable {
    case standard, preferred, bind, interleave
}

extension HostSlice {
    /// Takes pages of this memory that are not there yet from the given NUMA nodes, each below 128.
    ///
    /// - Throws: `EINVAL` also for a node that the host does not have.
    package func bind(to nodes: [Int], _ policy: MemoryPolicy) throws(Errno) {
        var mask: [UInt64] = [0, 0]
        for node in nodes {
            guard mask.indices.contains(node / 64), node >= 0 else { throw .invalidArgument }
            mask[node / 64] |= 1 << UInt64(node % 64)
        }
        _ = try checked { unsafe host_mbind(base, UInt(count), policy.rawValue, mask, 129) }
    }

    /// Advises the kernel about this memory, which must begin and end at page borders.
    package func advise(_ advice: MemoryAdvice) throws(Errno) {
        _ = try checked { unsafe madvise(base, count, advice.rawValue) }
    }
}
