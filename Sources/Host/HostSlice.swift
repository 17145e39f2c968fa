public import CHost
import Glibc

/// A checked range of host memory, borrowed from an owner that outlives it: guest RAM, a mapping or an `IOBuffer`.
///
/// Only the owners make slices. Offsets are checked on each access, so a slice can neither trap nor reach outside.
/// The memory may change at any time (it may be the guest's): every load reads it once.
///
/// What the data path uses is `public`: the compiler inlines nothing else across modules.
@safe
public struct HostSlice: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let base: UnsafeMutableRawPointer
    /// Length in bytes.
    public let count: Int

    /// A slice of `count` bytes at `base`, which must stay mapped as long as the slice is used.
    @unsafe @inlinable
    public init(base: UnsafeMutableRawPointer, count: Int) {
        unsafe self.base = unsafe base
        self.count = count
    }

    /// The first byte's address, for the rooms that talk to the kernel.
    @unsafe @inlinable
    public var pointer: UnsafeMutableRawPointer { unsafe base }

    /// The address as a number, for alignment checks.
    @inlinable
    public var address: UInt { unsafe UInt(bitPattern: base) }

    /// The part of `count` bytes at `offset`, or nil where that would reach outside.
    @inlinable
    public func slice(at offset: Int, count length: Int) -> HostSlice? {
        guard contains(offset, length) else { return nil }
        return unsafe HostSlice(base: base + offset, count: length)
    }

    /// The first bytes, at most `length` of them.
    @inlinable
    public func prefix(_ length: Int) -> HostSlice {
        unsafe HostSlice(base: base, count: max(0, min(length, count)))
    }

    /// What is left after the first `length` bytes.
    @inlinable
    public func dropFirst(_ length: Int) -> HostSlice {
        let skipped = max(0, min(length, count))
        return unsafe HostSlice(base: base + skipped, count: count - skipped)
    }

    @inlinable
    func contains(_ offset: Int, _ length: Int) -> Bool {
        offset >= 0 && length >= 0 && length <= count && offset <= count - length
    }
}

extension HostSlice {
    /// Loads one byte, or nil outside the slice.
    @inlinable
    public func byte(at offset: Int) -> UInt8? {
        guard contains(offset, 1) else { return nil }
        return unsafe host_load_u8(base + offset)
    }

    /// Loads a little-endian integer of any alignment, or nil outside the slice.
    @inlinable
    public func load<T: FixedWidthInteger>(at offset: Int, as type: T.Type = T.self) -> T? {
        guard contains(offset, MemoryLayout<T>.size) else { return nil }
        let address = unsafe base + offset
        return switch MemoryLayout<T>.size {
        case 1: unsafe T(truncatingIfNeeded: host_load_u8(address))
        case 2: unsafe T(truncatingIfNeeded: host_load_u16(address))
        case 4: unsafe T(truncatingIfNeeded: host_load_u32(address))
        case 8: unsafe T(truncatingIfNeeded: host_load_u64(address))
        default: nil
        }
    }

    /// Stores a little-endian integer of any alignment; false outside the slice.
    @inlinable @discardableResult
    public func store<T: FixedWidthInteger>(_ value: T, at offset: Int) -> Bool {
        guard contains(offset, MemoryLayout<T>.size) else { return false }
        let address = unsafe base + offset
        switch MemoryLayout<T>.size {
        case 1: unsafe host_store_u8(address, UInt8(truncatingIfNeeded: value))
        case 2: unsafe host_store_u16(address, UInt16(truncatingIfNeeded: value))
        case 4: unsafe host_store_u32(address, UInt32(truncatingIfNeeded: value))
        case 8: unsafe host_store_u64(address, UInt64(truncatingIfNeeded: value))
        default: return false
        }
        return true
    }

    /// Copies as many bytes as both sides hold; answers how many.
    @inlinable @discardableResult
    public func copy(from source: HostSlice) -> Int {
        let length = min(count, source.count)
        unsafe memmove(base, source.base, length)
        return length
    }

    /// Copies as many of `bytes` as fit; answers how many.
    @discardableResult
    package func copy(from bytes: [UInt8]) -> Int {
        let length = min(count, bytes.count)
        unsafe bytes.withUnsafeBytes { source in
            if let start = source.baseAddress { unsafe memcpy(base, start, length) }
        }
        return length
    }

    /// Sets every byte to `value`.
    @inlinable
    public func fill(_ value: UInt8) {
        unsafe memset(base, Int32(value), count)
    }

    /// A copy of the bytes.
    package var bytes: [UInt8] {
        unsafe [UInt8](UnsafeRawBufferPointer(start: base, count: count))
    }

    /// Whether every byte is zero.
    package var isZero: Bool {
        guard count > 0 else { return true }
        guard unsafe host_load_u8(base) == 0 else { return false }
        return unsafe memcmp(base, base + 1, count - 1) == 0
    }
}
