import Bus
import Testing

@Suite struct AddressMapTests {
    private func map(_ addresses: [AddressRange]) -> AddressMap {
        var map = AddressMap()
        let refused = addresses.filter { !map.insert(BusRange($0, constant: $0.start)) }
        #expect(refused.isEmpty)
        return map
    }

    @Test func accessesFindTheirRange() {
        // Not in the order of their addresses.
        let starts = (0..<20).map { UInt64($0 * 7 % 20) * 0x200 }
        let map = map(starts.map { .memory($0, count: 0x100) })
        for start in starts {
            #expect(map.range(at: start, size: 1, in: .memory)?.addresses.start == start)
            #expect(map.range(at: start + 0xff, size: 1, in: .memory)?.addresses.start == start)
            #expect(map.range(at: start + 0xfc, size: 4, in: .memory)?.addresses.start == start)
            #expect(map.range(at: start + 0x100, size: 1, in: .memory) == nil)
            #expect(map.range(at: start, size: 1, in: .ports) == nil)
        }
        #expect(map.ranges(of: .memory).map(\.addresses.start) == starts.sorted())
        #expect(map.range(at: .max, size: 8, in: .memory) == nil)
    }

    @Test(arguments: [(0xfd, 4), (0xff, 2), (0xf9, 8), (0x100, 1), (0, 0), (0x10, 0)] as [(UInt64, UInt8)])
    func anAccessThatCrossesTheEndBelongsToNoRange(offset: UInt64, size: UInt8) {
        // The second range begins where the first ends.
        let map = map([.memory(0x1000, count: 0x100), .memory(0x1100, count: 0x100)])
        let range = map.range(at: 0x1000 + offset, size: size, in: .memory)
        #expect(range?.addresses.start == (offset == 0x100 ? 0x1100 : nil))
    }

    @Test func rangesExcludeEachOther() {
        var map = map([.ports(0x3f8, count: 8)])
        let refused: [AddressRange] = [
            .ports(0x3f8, count: 8), .ports(0x3f0, count: 9), .ports(0x3ff, count: 1), .ports(0, count: 0x1000),
            .ports(0x3f9, count: 2), .ports(0x10, count: 0), .ports(0xffff, count: 2), .memory(.max, count: 2),
            .memory(0, count: 0),
        ]
        #expect(refused.filter { map.insert(BusRange($0, constant: 0)) } == [])
        #expect(map.ranges(of: .ports).count == 1)
        let taken: [AddressRange] = [
            .memory(0x3f8, count: 8), .ports(0x400, count: 8), .ports(0xffff, count: 1), .memory(.max, count: 1),
        ]
        #expect(taken.filter { map.insert(BusRange($0, constant: 0)) } == taken)
        #expect(map.range(at: .max, size: 1, in: .memory) != nil)
    }

    @Test func aCopyKeepsWhatTheOriginalLoses() {
        var changed = map([.memory(0, count: 8), .memory(8, count: 8)])
        let old = changed
        let range = old.ranges(of: .memory)[0]
        changed.remove(range)
        #expect(changed.range(at: 0, size: 1, in: .memory) == nil)
        #expect(changed.range(at: 8, size: 1, in: .memory) != nil)
        #expect(old.range(at: 0, size: 1, in: .memory) === range)
        // One that is gone already changes nothing.
        changed.remove(range)
        #expect(changed.ranges(of: .memory).count == 1)
    }
}
