import Glibc
import Host

/// How memory was at some time, to be compared with how it is later.
final class MemoryImage {
    private let buffer: IOBuffer

    /// An image of `count` bytes, all zero.
    init(count: Int) {
        buffer = IOBuffer(capacity: count)
    }

    /// Notes these bytes at `offset` of the image.
    func note(_ slice: HostSlice, at offset: Int = 0) {
        buffer.all.dropFirst(offset).copy(from: slice)
    }

    func note(_ bytes: [UInt8], at offset: Int) { buffer.all.dropFirst(offset).copy(from: bytes) }

    func clear() { buffer.all.fill(0) }

    /// Whether the image has the same bytes from `offset` on.
    func matches(_ slice: HostSlice, at offset: Int = 0) -> Bool {
        guard let mine = buffer.all.slice(at: offset, count: slice.count) else { return false }
        return unsafe memcmp(mine.pointer, slice.pointer, slice.count) == 0
    }
}

extension HostSlice {
    /// Whether all bytes are `value`.
    func isFilled(with value: UInt8) -> Bool {
        guard count > 0 else { return true }
        return unsafe byte(at: 0) == value && memcmp(pointer, pointer + 1, count - 1) == 0
    }
}
