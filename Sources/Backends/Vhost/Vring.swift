package import Host

/// A virtqueue as whoever serves it instead of this process needs to know it.
package struct Vring {
    /// How many descriptors it has.
    package let size: UInt16
    /// The next entry of the available ring to take.
    package let base: UInt16
    package let descriptors: HostSlice
    package let available: HostSlice
    package let used: HostSlice
    /// The eventfd that tells of new requests.
    package let kick: Int32
    /// The eventfd to signal when requests were used.
    package let call: Int32

    package init(
        size: UInt16, base: UInt16, descriptors: HostSlice, available: HostSlice, used: HostSlice, kick: Int32,
        call: Int32
    ) {
        self.size = size
        self.base = base
        self.descriptors = descriptors
        self.available = available
        self.used = used
        self.kick = kick
        self.call = call
    }

    /// The used ring's index: how many requests have been given back, modulo 2^16.
    package var usedIndex: UInt16 { used.load(at: 2) ?? 0 }
}
