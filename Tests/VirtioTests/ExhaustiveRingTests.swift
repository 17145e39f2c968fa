import TestSupport
import Testing
import Virtio

/// Every combination of flags, next and kind of buffer in rings so small that all can be tried.
///
/// Guest memory: the ring at 0, an indirect table after it, then buffers of 8 bytes with canaries around each.
@Suite(.serialized) struct ExhaustiveRingTests {
    /// Kinds of buffers: none, two sound ones, one across the end of memory, one that names the indirect table.
    static let buffers: [(address: UInt64, length: UInt32)] = [
        (0x9999_0000, 0), (0x808, 8), (0x818, 8), (4092, 8), (0x400, 32),
    ]

    private static func entries(nexts: [UInt16]) -> [ChainModel.Entry] {
        buffers.flatMap { buffer in
            (0..<8 as Range<UInt16>).flatMap { flags in
                nexts.map { ChainModel.Entry(address: buffer.address, length: buffer.length, flags: flags, next: $0) }
            }
        }
    }

    /// Two descriptors with every buffer, every flag and every next: 5 x 8 x 4 squared, from both heads.
    @Test(arguments: [Features.version1, [.version1, .splitRing]])
    func ringOfTwo(features: Features) throws {
        let ring = try RingTrial(size: 2, features: features)
        let all = Self.entries(nexts: [0, 1, 2, 0xffff])
        let inner = [
            ChainModel.Entry(address: 0x828, length: 8, flags: 1, next: 1),
            ChainModel.Entry(address: 0x838, length: 8, flags: 2, next: 0),
        ]
        for first in all {
            for second in all {
                try ring.run(head: 0, [first, second], inner)
            }
        }
    }

    /// Indirect tables of two descriptors, in the same way.
    @Test func indirectTableOfTwo() throws {
        let ring = try RingTrial(size: 2, features: [.version1, .splitRing])
        let all = Self.entries(nexts: [0, 1, 2, 0xffff])
        let outer = [
            ChainModel.Entry(address: 0x400, length: 32, flags: 4, next: 0),
            ChainModel.Entry(address: 0x828, length: 8, flags: 1, next: 0),
        ]
        for first in all {
            for second in all {
                try ring.run(head: UInt16(first.next & 1), outer, [first, second])
            }
        }
    }

    /// Four descriptors with NEXT and WRITE in every way, and every next: 12 to the fourth.
    @Test func ringOfFour() throws {
        let ring = try RingTrial(size: 4, features: [.version1, .splitRing])
        // What a descriptor without NEXT has as next does not matter.
        var choices: [(UInt16, UInt16)] = [(0, 0), (2, 0)]
        for next in 0...4 as ClosedRange<UInt16> { choices += [(1, next), (3, next)] }
        var table = [ChainModel.Entry](repeating: ChainModel.Entry(address: 0, length: 8, flags: 0, next: 0), count: 4)
        for first in choices {
            for second in choices {
                for third in choices {
                    for fourth in choices {
                        for (index, choice) in [first, second, third, fourth].enumerated() {
                            table[index] = ChainModel.Entry(
                                address: 0x808 + 16 * UInt64(index), length: 8, flags: choice.0, next: choice.1)
                        }
                        try ring.run(head: 0, table)
                    }
                }
            }
        }
    }
}
