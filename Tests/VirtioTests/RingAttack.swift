import Host
import Memory
import TestSupport
import Testing
import Virtio

/// One wrong thing that a driver does in the rings, and what the device must make of it.
struct RingAttack: Sendable, CustomTestStringConvertible {
    enum Outcome: Sendable {
        /// The device stops until it is reset.
        case stopped
        /// The device serves this many requests and goes on.
        case served(Int)
    }

    /// What an attack works with: a running queue of 8 descriptors, and 256 bytes of its own.
    struct Stage {
        let rig: Rig
        let queue: DriverQueue
        let data: UInt64
        /// Guest memory for an indirect table of 64 entries.
        let table: GuestAddress
        let tableMemory: HostSlice

        /// A descriptor of the queue's table; with `data` as its buffer, if nothing else is said.
        func set(_ index: Int, at address: UInt64? = nil, _ count: UInt32 = 16, _ flags: UInt16 = 0, next: UInt16 = 0) {
            queue.setDescriptor(index, address: address ?? data, count: count, flags: flags, next: next)
        }

        /// A descriptor of the indirect table.
        func setIndirect(
            _ index: Int, at address: UInt64? = nil, _ count: UInt32 = 16, _ flags: UInt16 = 0, next: UInt16 = 0
        ) {
            queue.setDescriptor(
                index, address: address ?? data, count: count, flags: flags, next: next, in: tableMemory)
        }

        /// An indirect descriptor that names the first bytes of the table.
        func nameTable(_ count: UInt32, _ flags: UInt16 = 0, next: UInt16 = 0) {
            set(0, at: table.rawValue, count, DriverQueue.Flag.indirect | flags, next: next)
        }

        /// Offers heads, all in one batch.
        func offer(_ heads: UInt16...) {
            for head in heads { queue.offer(head) }
            queue.publish()
        }
    }

    let number: Int
    let name: String
    let features: Features
    let outcome: Outcome
    /// The device keeps its requests, as if their I/O took long.
    let holdsRequests: Bool
    let prepare: @Sendable (Stage) throws -> Void

    init(
        _ number: Int, _ name: String, _ outcome: Outcome = .stopped,
        features: Features = [.version1, .ringIndirectDescriptors], holdsRequests: Bool = false,
        _ prepare: @escaping @Sendable (Stage) throws -> Void
    ) {
        self.number = number
        self.name = name
        self.features = features
        self.outcome = outcome
        self.holdsRequests = holdsRequests
        self.prepare = prepare
    }

    var testDescription: String { "case \(number): \(name)" }

    /// Carries the attack out and checks what became of the device, of its neighbour and of guest memory.
    func run() throws {
        let rig = try Rig()
        let queue = try rig.driver.start(features)[0]
        rig.device.holdsRequests = holdsRequests
        let data = try rig.driver.allocate(256)
        let table = try rig.driver.allocate(64 * 16)
        let stage = Stage(
            rig: rig, queue: queue, data: data.rawValue, table: table,
            tableMemory: try rig.memory.slice(at: table, count: 64 * 16))
        try prepare(stage)
        let before = rig.memory.host.bytes
        queue.kick()
        switch outcome {
        case .stopped:
            try rig.driver.wait { rig.driver.status.contains(.deviceNeedsReset) }
            rig.expectOnlyChanged(since: before, in: [(queue.layout.usedRing, queue.used.count)])
            rig.device.releaseHeld()
            try rig.expectStopped()
        case .served(let count):
            try rig.driver.wait { rig.device.requests >= count }
            rig.driver.settle()
            #expect(rig.device.requests == count)
            #expect(!rig.driver.status.contains(.deviceNeedsReset))
            rig.expectOnlyChanged(since: before, in: [(queue.layout.usedRing, queue.used.count), (data, 256)])
            try rig.expectBystanderWorks()
            rig.device.releaseHeld()
            try rig.expectWorksAfterReset()
        }
    }
}
