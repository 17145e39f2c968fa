import Host
import Memory
import TestSupport
import Testing
import Virtio

private let next = DriverQueue.Flag.next
private let write = DriverQueue.Flag.write
private let indirect = DriverQueue.Flag.indirect

/// What a driver can do wrong in the rings, cases 12 to 20 of the list of hostile inputs.
@Suite struct HostileRingTests {
    static let wrongIndexes: [RingAttack] = [
        RingAttack(12, "available index ahead by one more than the size") { $0.queue.lie(availableIndex: 9) },
        RingAttack(12, "available index far ahead") { $0.queue.lie(availableIndex: 0x8000) },
        RingAttack(12, "available index backwards from 0") { $0.queue.lie(availableIndex: 0xffff) },
        RingAttack(12, "available index backwards after requests") { stage in
            for head in 0..<4 { stage.set(head) }
            stage.offer(0, 1, 2, 3)
            stage.queue.kick()
            try stage.rig.driver.wait { stage.queue.usedCount == 4 }
            stage.queue.lie(availableIndex: 3)
        },
        RingAttack(12, "available index ahead by exactly the size", .served(8)) { stage in
            for head in 0..<8 { stage.set(head) }
            stage.offer(0, 1, 2, 3, 4, 5, 6, 7)
        },
        RingAttack(13, "head equal to the size") { $0.offer(8) },
        RingAttack(13, "largest head") { $0.offer(0xffff) },
        RingAttack(13, "head twice in one batch, the first still in flight", holdsRequests: true) { stage in
            stage.set(3)
            stage.offer(3, 3)
        },
        RingAttack(13, "head again while in flight", holdsRequests: true) { stage in
            stage.set(3)
            stage.offer(3)
            stage.queue.kick()
            try stage.rig.driver.wait { stage.rig.device.requests == 1 }
            stage.offer(3)
        },
        RingAttack(13, "head twice in one batch, but used in between", .served(2)) { stage in
            stage.set(3)
            stage.offer(3, 3)
        },
    ]

    static let wrongChains: [RingAttack] = [
        RingAttack(14, "descriptor that is its own next") { stage in
            stage.set(0, 16, next, next: 0)
            stage.offer(0)
        },
        RingAttack(14, "loop of two") { stage in
            stage.set(0, 16, next, next: 1)
            stage.set(1, 16, next, next: 0)
            stage.offer(0)
        },
        RingAttack(14, "loop of all, writable") { stage in
            for index in 0..<8 as Range<UInt16> { stage.set(Int(index), 1, next | write, next: (index + 1) % 8) }
            stage.offer(5)
        },
        RingAttack(14, "chain of exactly the size", .served(1)) { stage in
            for index in 0..<8 as Range<UInt16> { stage.set(Int(index), 1, index < 7 ? next : 0, next: index + 1) }
            stage.offer(0)
        },
        RingAttack(14, "next equal to the size") { stage in
            stage.set(0, 16, next, next: 8)
            stage.offer(0)
        },
        RingAttack(14, "largest next") { stage in
            stage.set(0, 16, next, next: 0xffff)
            stage.offer(0)
        },
        RingAttack(14, "direct and indirect descriptors together longer than the size") { stage in
            stage.set(1, 1, next, next: 0)
            for index in 0..<8 as Range<UInt16> {
                stage.setIndirect(Int(index), 1, index < 7 ? next : 0, next: index + 1)
            }
            stage.nameTable(8 * 16)
            stage.offer(1)
        },
        RingAttack(14, "direct and indirect descriptors together of exactly the size", .served(1)) { stage in
            stage.set(1, 1, next, next: 0)
            for index in 0..<7 as Range<UInt16> {
                stage.setIndirect(Int(index), 1, index < 6 ? next : 0, next: index + 1)
            }
            stage.nameTable(7 * 16)
            stage.offer(1)
        },
        RingAttack(14, "loop inside an indirect table") { stage in
            stage.setIndirect(0, 16, next, next: 1)
            stage.setIndirect(1, 16, next, next: 0)
            stage.nameTable(2 * 16)
            stage.offer(0)
        },
        RingAttack(14, "next outside an indirect table, inside the queue's") { stage in
            stage.setIndirect(0, 16, next, next: 2)
            stage.nameTable(2 * 16)
            stage.offer(0)
        },
        RingAttack(15, "indirect inside indirect") { stage in
            stage.setIndirect(0, at: stage.table.rawValue, 16, indirect)
            stage.nameTable(16)
            stage.offer(0)
        },
        RingAttack(15, "indirect with next") { stage in
            stage.setIndirect(0)
            stage.nameTable(16, next, next: 1)
            stage.offer(0)
        },
        RingAttack(15, "indirect table of more entries than the queue") { stage in
            stage.setIndirect(0)
            stage.nameTable(9 * 16)
            stage.offer(0)
        },
        RingAttack(15, "indirect table outside memory") { stage in
            stage.set(0, at: Rig.hole, 16, indirect)
            stage.offer(0)
        },
        RingAttack(15, "indirect table across a border of regions") { stage in
            stage.set(0, at: Rig.border - 16, 32, indirect)
            stage.offer(0)
        },
        RingAttack(15, "indirect table not negotiated", features: .version1) { stage in
            stage.setIndirect(0)
            stage.nameTable(16)
            stage.offer(0)
        },
        RingAttack(15, "writable indirect descriptor: the flag means nothing", .served(1)) { stage in
            stage.setIndirect(0)
            stage.nameTable(16, write)
            stage.offer(0)
        },
        RingAttack(15, "indirect table at an odd address", .served(1)) { stage in
            for (offset, byte) in [0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0].enumerated() {
                stage.tableMemory.store(UInt8(byte), at: 3 + offset)
            }
            stage.set(0, at: stage.table.rawValue + 3, 16, indirect)
            stage.offer(0)
        },
        RingAttack(16, "one buffer without bytes", .served(1)) { stage in
            stage.set(0, at: Rig.hole, 0)
            stage.offer(0)
        },
        RingAttack(16, "a chain of buffers without bytes", .served(1)) { stage in
            for index in 0..<8 as Range<UInt16> {
                stage.set(Int(index), 0, (index < 7 ? next : 0) | write, next: index + 1)
            }
            stage.offer(0)
        },
        RingAttack(16, "a loop of buffers without bytes") { stage in
            stage.set(0, 0, next, next: 1)
            stage.set(1, 0, next, next: 0)
            stage.offer(0)
        },
        RingAttack(19, "readable after writable") { stage in
            stage.set(0, 16, next | write, next: 1)
            stage.set(1, 16)
            stage.offer(0)
        },
        RingAttack(19, "readable after writable in an indirect table") { stage in
            stage.setIndirect(0, 16, next, next: 1)
            stage.setIndirect(1, 16, next | write, next: 2)
            stage.setIndirect(2, 16)
            stage.nameTable(3 * 16)
            stage.offer(0)
        },
        RingAttack(19, "only readable, where the device writes", .served(1)) { stage in
            stage.set(0)
            stage.offer(0)
        },
        RingAttack(19, "only writable, where the device reads", .served(1)) { stage in
            stage.set(0, 16, write)
            stage.offer(0)
        },
    ]

    private static let tableSizes: [UInt32] = [0, 1, 15, 17, 24, 0xffff_ffff, 0xffff_fff0, 0x10000, 0x100010]

    static let wrongIndirectSizes = tableSizes.map { size in
        RingAttack(15, "indirect table of \(size) bytes") { stage in
            stage.setIndirect(0)
            stage.nameTable(size)
            stage.offer(0)
        }
    }

    private static let outside: [(UInt64, UInt32)] = [
        (.max - 15, 16), (.max, 1), (.max - 7, 16), (1 << 63, 0xffff_ffff), (Rig.hole, 1), (Rig.hole - 8, 16),
        (Rig.border - 8, 16), (Rig.high - 1, 1), (Rig.high - 1, 2), (Rig.end - 1, 2), (Rig.end, 1),
        (0xd000_0000, 0x200), (0, 0xffff_ffff), (0, UInt32(Rig.regionSize) + 1),
    ]

    static let wrongBuffers = outside.flatMap { address, count in
        [0, write].map { flags in
            RingAttack(17, "\(flags == 0 ? "readable" : "writable") buffer of \(count) at \(GuestAddress(address))") {
                $0.set(0, 16, next, next: 1)
                $0.set(1, at: address, count, flags)
                $0.offer(0)
            }
        }
    }

    private static let inside: [(UInt64, UInt32)] = [
        (Rig.border - 16, 16), (Rig.border, 16), (Rig.end - 1, 1), (0, UInt32(Rig.regionSize)),
    ]

    static let soundBuffers = inside.map { address, count in
        RingAttack(17, "the last sound buffer, of \(count) at \(GuestAddress(address))", .served(1)) {
            $0.set(0, at: address, count)
            $0.offer(0)
        }
    }

    @Test(arguments: wrongIndexes) func indexes(attack: RingAttack) throws { try attack.run() }
    @Test(arguments: wrongChains) func chains(attack: RingAttack) throws { try attack.run() }
    @Test(arguments: wrongIndirectSizes) func indirectSizes(attack: RingAttack) throws { try attack.run() }
    @Test(arguments: wrongBuffers + soundBuffers) func buffers(attack: RingAttack) throws { try attack.run() }
}
