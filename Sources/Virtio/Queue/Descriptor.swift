import Host

/// One descriptor, copied out of guest memory: 16 bytes loaded once, so that what is checked is what is used.
struct Descriptor {
    let address: UInt64
    let length: UInt32
    let flags: Flags
    let next: UInt16

    /// `VIRTQ_DESC_F_*`.
    struct Flags: OptionSet {
        let rawValue: UInt16

        static let next = Flags(rawValue: 1)
        static let write = Flags(rawValue: 2)
        static let indirect = Flags(rawValue: 4)
    }

    /// Bytes of one descriptor.
    static let size = 16

    /// Loads the descriptor at `index` of `table`; nil outside the table.
    @inline(__always)
    init?(_ table: HostSlice, _ index: UInt16) {
        guard let address: UInt64 = table.load(at: Int(index) * Self.size),
            let rest: UInt64 = table.load(at: Int(index) * Self.size + 8)
        else { return nil }
        self.address = address
        length = UInt32(truncatingIfNeeded: rest)
        flags = Flags(rawValue: UInt16(truncatingIfNeeded: rest >> 32))
        next = UInt16(truncatingIfNeeded: rest >> 48)
    }
}
