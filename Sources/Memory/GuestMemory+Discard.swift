package import Host

/// Giving memory back to the host: it takes none there until it is touched again, and then holds zeroes or what its
/// file holds.
extension GuestMemory {
    /// The advice that frees pages of this memory; nil if they are huge, which can't be freed in parts.
    package var discardAdvice: MemoryAdvice? {
        guard pageSize == HostProcess.pageSize else { return nil }
        return file == nil ? .dontNeed : .remove
    }

    /// The pages of the host that lie in `slice`, a part of this memory, as a whole; nil if there are none.
    package func wholePages(of slice: HostSlice) -> HostSlice? {
        let border = UInt(pageSize &- 1)
        let skipped = Int(truncatingIfNeeded: (0 &- slice.address) & border)
        guard slice.count > skipped else { return nil }
        let count = (slice.count &- skipped) & ~Int(border)
        return count > 0 ? slice.slice(at: skipped, count: count) : nil
    }
}
