package import Host

/// The buffers of a chain in one direction, in order, taken apart from the front or the back.
///
/// The table is allocated once and filled anew for each chain. Buffers may be split in any way (virtio 1.2 section
/// 2.7.4.2), so everything here works on bytes, not on buffers; there are no empty buffers in the list.
@safe
package final class SliceList {
    private let table: UnsafeMutablePointer<HostSlice>
    private let capacity: Int
    private var first = 0
    private var end = 0
    private var bytes = 0

    init(capacity: Int) {
        self.capacity = max(capacity, 1)
        unsafe table = .allocate(capacity: self.capacity)
    }

    deinit {
        unsafe table.deallocate()
    }

    /// How many buffers are left.
    package var count: Int { end &- first }

    /// How many bytes are left in all buffers together; below 4 GiB.
    package var byteCount: Int { bytes }

    package var isEmpty: Bool { end == first }

    /// One of the buffers that are left, or nil.
    package subscript(index: Int) -> HostSlice? {
        guard index >= 0, index < count else { return nil }
        return unsafe table[first &+ index]
    }

    @inline(__always)
    func clear() {
        first = 0
        end = 0
        bytes = 0
    }

    /// Adds a buffer at the end; false when the table is full.
    @inline(__always)
    func append(_ slice: HostSlice) -> Bool {
        guard end < capacity else { return false }
        unsafe (table + end).initialize(to: slice)
        end &+= 1
        bytes &+= slice.count
        return true
    }

    /// Takes the next bytes that lie in one piece, at most `length` of them; nil at the end.
    @inline(__always)
    package func takePiece(upTo length: Int = .max) -> HostSlice? {
        guard first < end, length > 0 else { return nil }
        let slice = unsafe table[first]
        guard slice.count > length else {
            first &+= 1
            bytes &-= slice.count
            return slice
        }
        unsafe table[first] = slice.dropFirst(length)
        bytes &-= length
        return slice.prefix(length)
    }

    /// Takes the last byte, in which several devices report their status; nil if there is none.
    package func takeLastByte() -> HostSlice? {
        guard first < end else { return nil }
        let slice = unsafe table[end &- 1]
        if slice.count == 1 { end &-= 1 } else { unsafe table[end &- 1] = slice.prefix(slice.count &- 1) }
        bytes &-= 1
        return slice.dropFirst(slice.count &- 1)
    }

    /// Takes a little-endian integer; nil, and nothing is taken, if fewer bytes are left.
    package func take<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self) -> T? {
        let size = MemoryLayout<T>.size
        guard bytes >= size, let front = self[0] else { return nil }
        if let value: T = front.load(at: 0) {
            skip(size)
            return value
        }
        var value: T = 0
        for position in 0..<size {
            guard let byte = takePiece(upTo: 1)?.byte(at: 0) else { return nil }
            value |= T(truncatingIfNeeded: byte) << T(truncatingIfNeeded: 8 * position)
        }
        return value
    }

    /// Stores a little-endian integer into the next bytes; false, and nothing is stored, if fewer bytes are left.
    @discardableResult
    package func put<T: FixedWidthInteger & UnsignedInteger>(_ value: T) -> Bool {
        let size = MemoryLayout<T>.size
        guard bytes >= size, let front = self[0] else { return false }
        if front.store(value, at: 0) {
            skip(size)
            return true
        }
        for position in 0..<size {
            let byte = UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 * position))
            takePiece(upTo: 1)?.store(byte, at: 0)
        }
        return true
    }

    /// Passes over the next bytes; false if fewer than `length` were left.
    @discardableResult
    package func skip(_ length: Int) -> Bool {
        var left = length
        while left > 0 {
            guard let piece = takePiece(upTo: left) else { return false }
            left &-= piece.count
        }
        return true
    }

    /// Takes bytes into `destination` until it is full or none are left; answers how many.
    @discardableResult
    package func copy(to destination: HostSlice) -> Int {
        var rest = destination
        while rest.count > 0, let piece = takePiece(upTo: rest.count) {
            rest = rest.dropFirst(rest.copy(from: piece))
        }
        return destination.count &- rest.count
    }

    /// Stores the bytes of `source` into the next bytes until all are stored or none are left; answers how many.
    @discardableResult
    package func copy(from source: HostSlice) -> Int {
        var rest = source
        while rest.count > 0, let piece = takePiece(upTo: rest.count) {
            rest = rest.dropFirst(piece.copy(from: rest))
        }
        return source.count &- rest.count
    }
}
