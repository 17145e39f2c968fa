/// Numbers that look random and are the same in each run (SplitMix64).
struct RandomBytes {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// A number from 0 to `limit` - 1.
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var all: [UInt8] = []
        all.reserveCapacity(count + 8)
        while all.count < count {
            var word = next()
            for _ in 0..<8 {
                all.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        all.removeLast(all.count - count)
        return all
    }
}
