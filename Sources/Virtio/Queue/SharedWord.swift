import Host
import Synchronization

/// One 16-bit word of a ring that driver and device use at the same time, loaded and stored with explicit order.
@safe
struct SharedWord {
    private let word: UnsafeMutablePointer<Atomic<UInt16>>

    /// The word at `offset` of `slice`, whose memory must stay mapped; nil outside the slice or at an odd address.
    init?(_ slice: HostSlice, at offset: Int) {
        guard let found = slice.slice(at: offset, count: 2), found.address % 2 == 0 else { return nil }
        unsafe word = found.pointer.assumingMemoryBound(to: Atomic<UInt16>.self)
    }

    /// Loads the word; what the other side stored before it is visible afterwards.
    @inline(__always)
    func load() -> UInt16 { unsafe word.pointee.load(ordering: .acquiring) }

    /// Stores the word; what was stored before it is visible to whoever sees it.
    @inline(__always)
    func store(_ value: UInt16) { unsafe word.pointee.store(value, ordering: .releasing) }
}
