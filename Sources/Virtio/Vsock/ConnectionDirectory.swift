import Host

/// Finds connections by their ports: a hash table over the slots of a device's connections.
struct ConnectionDirectory: ~Copyable {
    private let buckets: FixedTable<Int32>
    private let next: FixedTable<Int32>
    private let ports: FixedTable<VsockPorts>
    private let shift: UInt64
    // The guest chooses ports, but does not know into which bucket they fall.
    private let seed: UInt64

    /// An empty directory of up to `capacity` connections.
    init(capacity: Int) {
        let bits = max(1, Int.bitWidth - max(2 * capacity - 1, 1).leadingZeroBitCount)
        buckets = FixedTable(repeating: -1, count: 1 << bits)
        next = FixedTable(repeating: -1, count: capacity)
        ports = FixedTable(repeating: VsockPorts(guest: 0, host: 0), count: capacity)
        shift = UInt64(64 - bits)
        seed = randomBytes(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    private func bucket(_ ports: VsockPorts) -> Int {
        let mixed = (UInt64(ports.guest) << 32 | UInt64(ports.host)) ^ seed
        return Int((mixed &* 0x9e37_79b9_7f4a_7c15) >> shift)
    }

    /// The slot of the connection with these ports; nil if there is none.
    func find(_ wanted: VsockPorts) -> Int? {
        var slot = buckets[bucket(wanted)]
        while slot >= 0 {
            if ports[Int(slot)] == wanted { return Int(slot) }
            slot = next[Int(slot)]
        }
        return nil
    }

    /// Enters a slot, which is not in the directory, under its ports.
    func insert(_ slot: Int, _ its: VsockPorts) {
        let bucket = bucket(its)
        ports[slot] = its
        next[slot] = buckets[bucket]
        buckets[bucket] = Int32(truncatingIfNeeded: slot)
    }

    /// Takes a slot out, if it is in.
    func remove(_ slot: Int) {
        let bucket = bucket(ports[slot])
        var current = buckets[bucket]
        guard current != Int32(slot) else {
            buckets[bucket] = next[slot]
            return
        }
        while current >= 0 {
            let following = next[Int(current)]
            if following == Int32(slot) {
                next[Int(current)] = next[slot]
                return
            }
            current = following
        }
    }
}
