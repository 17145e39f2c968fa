/// Which range each address of a board belongs to. A value: every change makes another one.
package struct AddressMap: Sendable {
    private var memory = Table()
    private var ports = Table()

    /// The ranges of one space by rising addresses. The bounds stand apart, so that a search touches no object.
    private struct Table {
        var bounds: [Bounds] = []
        var ranges: [BusRange] = []

        struct Bounds {
            let start: UInt64
            let last: UInt64
        }

        /// The range that holds `size` bytes from `address` on, all of them.
        func find(_ address: UInt64, size: UInt8) -> BusRange? {
            var low = 0
            var high = bounds.count
            while low < high {
                let middle = (low + high) / 2
                if bounds[middle].last < address { low = middle + 1 } else { high = middle }
            }
            guard low < bounds.count, size > 0, address >= bounds[low].start,
                UInt64(size) - 1 <= bounds[low].last - address
            else { return nil }
            return ranges[low]
        }

        mutating func insert(_ range: BusRange) {
            let place = bounds.firstIndex { $0.start > range.addresses.start } ?? bounds.count
            bounds.insert(Bounds(start: range.addresses.start, last: range.addresses.last), at: place)
            ranges.insert(range, at: place)
        }

        mutating func remove(_ range: BusRange) {
            guard let place = ranges.firstIndex(where: { $0 === range }) else { return }
            bounds.remove(at: place)
            ranges.remove(at: place)
        }
    }

    /// No ranges.
    package init() {}

    /// The ranges of a space by rising addresses.
    package func ranges(of space: AddressSpace) -> [BusRange] { space == .memory ? memory.ranges : ports.ranges }

    /// The range that an access belongs to; nil if there is none, or the access crosses its end.
    package func range(at address: UInt64, size: UInt8, in space: AddressSpace) -> BusRange? {
        switch space {
        case .memory: memory.find(address, size: size)
        case .ports: ports.find(address, size: size)
        }
    }

    /// Adds a range; false if it overlaps another one, or is not inside its space.
    package mutating func insert(_ range: BusRange) -> Bool {
        let addresses = range.addresses
        guard addresses.isSound,
            !ranges(of: addresses.space).contains(where: { $0.addresses.overlaps(addresses) })
        else { return false }
        switch addresses.space {
        case .memory: memory.insert(range)
        case .ports: ports.insert(range)
        }
        return true
    }

    /// Takes a range away, if it is there.
    package mutating func remove(_ range: BusRange) {
        switch range.addresses.space {
        case .memory: memory.remove(range)
        case .ports: ports.remove(range)
        }
    }
}
