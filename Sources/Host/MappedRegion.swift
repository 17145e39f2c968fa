import CHost
import Glibc

/// A range of address space that this value owns and unmaps.
@safe
package final class MappedRegion: @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    /// Length in bytes.
    package let count: Int

    /// Maps `count` bytes, zeroed and private to this process.
    package init(anonymous count: Int) throws(Errno) {
        unsafe base = try Self.map(count, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        self.count = count
    }

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
    /// Fault every page in for writing, as if each were touched (Linux 5.14).
    package static let populateWrite = MemoryAdvice(rawValue: 23)
}

extension HostSlice {
    /// Advises the kernel about this memory, which must begin and end at page borders.
    package func advise(_ advice: MemoryAdvice) throws(Errno) {
        _ = try checked { unsafe madvise(base, count, advice.rawValue) }
    }
}
