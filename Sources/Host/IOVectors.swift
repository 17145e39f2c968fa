import CHost
import Glibc

/// A table of scatter-gather entries at a fixed address, as `readv`-like operations need it.
///
/// Its pages are only touched when used, so a generous table costs nothing.
@safe
package final class IOVectors {
    private let entries: UnsafeMutablePointer<iovec>
    /// How many entries the table holds.
    package let capacity: Int

    package init(capacity: Int) {
        self.capacity = max(capacity, 1)
        unsafe entries = .allocate(capacity: self.capacity)
    }

    deinit {
        unsafe entries.deallocate()
    }

    /// Sets one entry; false outside the table.
    @discardableResult
    package func set(_ index: Int, _ slice: HostSlice) -> Bool {
        guard index >= 0, index < capacity else { return false }
        unsafe entries[index] = unsafe iovec(iov_base: slice.pointer, iov_len: slice.count)
        return true
    }

    /// One entry as a slice; nil outside the table.
    package func slice(_ index: Int) -> HostSlice? {
        guard index >= 0, index < capacity else { return nil }
        let entry = unsafe entries[index]
        guard let base = unsafe entry.iov_base else { return nil }
        return unsafe HostSlice(base: base, count: entry.iov_len)
    }

    /// Drops the first `length` bytes of the entries in `range`, after a short transfer.
    ///
    /// - Returns: the entries that still have bytes.
    package func advance(_ range: Range<Int>, by length: Int) -> Range<Int> {
        var first = range.lowerBound
        var rest = length
        while first < range.upperBound, let entry = slice(first) {
            if rest < entry.count {
                set(first, entry.dropFirst(rest))
                break
            }
            rest -= entry.count
            first += 1
        }
        return first..<range.upperBound
    }

    /// Calls `body` with the address and the number of the entries in `range`, cut to the table.
    @unsafe
    fileprivate func with(_ range: Range<Int>, _ body: (UnsafePointer<iovec>, Int32) -> Int) -> Int {
        let range = range.clamped(to: 0..<capacity)
        return unsafe body(entries + range.lowerBound, Int32(truncatingIfNeeded: range.count))
    }

    /// The address of the entry at `index`, for the ring. The caller keeps the table alive until completion.
    package func address(at index: Int) -> UInt {
        unsafe UInt(bitPattern: entries + max(0, min(index, capacity - 1)))
    }
}

extension FileDescriptor {
    /// Reads once into the entries of `vectors` in `range`.
    ///
    /// - Returns: how many bytes, or an `errno` value below zero: the usual answer of a file that never waits is no
    ///   reason to throw.
    package func transfer(into vectors: IOVectors, _ range: Range<Int>) -> Int {
        unsafe vectors.with(range) { unsafe answer(readv(rawValue, $0, $1)) }
    }

    /// Writes once from the entries of `vectors` in `range`; answers as reading does.
    package func transfer(from vectors: IOVectors, _ range: Range<Int>) -> Int {
        unsafe vectors.with(range) { unsafe answer(writev(rawValue, $0, $1)) }
    }

    private func answer(_ result: Int) -> Int {
        result >= 0 ? result : -Int(Errno.current.rawValue)
    }
}
