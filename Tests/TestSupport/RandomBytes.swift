import Host

/// Numbers that look random and are the same in each run (SplitMix64).
package struct RandomBytes {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// A number from 0 to `limit` - 1.
    package mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }

    // Made once: byte by byte would take most of a test's time.
    private static let pool: [UInt8] = {
        var random = RandomBytes(seed: 1)
        let memory = IOBuffer(capacity: 1 << 20)
        for offset in stride(from: 0, to: memory.capacity, by: 8) { memory.all.store(random.next(), at: offset) }
        return memory.all.bytes
    }()

    /// Up to 512 KiB.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        let start = below(Self.pool.count / 2)
        return Array(Self.pool[start..<start + count])
    }
}
