import Host

/// The last 64 KiB that a guest wrote: what a reader on the host has not taken yet, and what one who comes late is
/// shown. The oldest gives way, so a guest never waits and memory stays bounded.
final class OutputHistory {
    static let capacity = 64 * 1024

    private let ring: MappedRegion
    /// How many bytes were ever written: the position behind the newest.
    private(set) var end: UInt64 = 0

    init() throws(Errno) {
        ring = try MappedRegion(anonymous: Self.capacity)
    }

    /// The position of the oldest byte that is still there.
    var start: UInt64 { end - min(end, UInt64(Self.capacity)) }

    func append(_ bytes: HostSlice) {
        let kept = bytes.dropFirst(bytes.count - Self.capacity)
        end &+= UInt64(bytes.count - kept.count)
        let upper = ring.all.dropFirst(offset(of: end))
        let fitting = upper.copy(from: kept)
        ring.all.copy(from: kept.dropFirst(fitting))
        end &+= UInt64(kept.count)
    }

    /// Copies what follows `position`, as much as there is and fits; answers how much.
    func copy(from position: UInt64, into slice: HostSlice) -> Int {
        let position = max(position, start)
        guard position < end else { return 0 }
        let wanted = slice.prefix(Int(clamping: end - position))
        let upper = ring.all.dropFirst(offset(of: position))
        let copied = wanted.copy(from: upper)
        wanted.dropFirst(copied).copy(from: ring.all)
        return wanted.count
    }

    private func offset(of position: UInt64) -> Int {
        Int(position % UInt64(Self.capacity))
    }
}
