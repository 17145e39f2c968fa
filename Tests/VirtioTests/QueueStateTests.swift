import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A queue's state as a value.
@Suite struct QueueStateTests {
    typealias State = Virtqueue.State

    private let memory: GuestMemory
    private let ring: DriverQueue
    private let features: Features = [.version1, .ringEventIndex]

    private static let layout = QueueLayout(
        size: 8, descriptorTable: GuestAddress(0x1000), availableRing: GuestAddress(0x2000),
        usedRing: GuestAddress(0x3000))

    init() throws {
        memory = try GuestMemory(size: 64 << 10)
        let bell = try EventFD()
        ring = try DriverQueue(0, Self.layout, features: features, memory: memory, doorbell: bell.rawValue)
        for head in 0..<8 {
            ring.setDescriptor(head, address: 0x8000, count: UInt32(head) + 1, flags: DriverQueue.Flag.write)
        }
    }

    private func queue(_ state: State? = nil) throws -> Virtqueue {
        let queue = try Virtqueue(
            index: 0, layout: Self.layout, maximumSize: 8, features: features, memory: memory)
        if let state { try queue.restore(state) }
        return queue
    }

    private func offer(_ heads: [UInt16]) {
        for head in heads { ring.offer(head) }
        ring.publish()
    }

    private func take(_ queue: Virtqueue) -> [UInt16] {
        var heads: [UInt16] = []
        while let chain = queue.next() { heads.append(chain.head) }
        return heads
    }

    @Test("A queue goes on where another one was")
    func goesOn() throws {
        let first = try queue()
        #expect(first.state == State(nextAvailable: 0, nextUsed: 0))
        offer([6, 2, 4, 0])
        #expect(take(first) == [6, 2, 4, 0])
        first.complete(4, written: 3)
        _ = first.publish()
        let state = State(nextAvailable: 4, nextUsed: 1, heldHeads: [6, 2, 0])
        #expect(first.state == state)

        let second = try queue(state)
        #expect(second.state == state && second.inFlight == 0)
        #expect(!second.complete(6, written: 0), "the device does not have it yet")
        #expect(second.next()?.writable.byteCount == 7)
        #expect(second.state == state && second.inFlight == 1)
        second.complete(6, written: .max)
        offer([4, 6])
        #expect(take(second) == [2, 0, 4, 6])
        for head in [0, 2, 4, 6] as [UInt16] { second.complete(head, written: 1) }
        _ = second.publish()
        #expect(second.state == State(nextAvailable: 6, nextUsed: 6) && ring.usedIndex == 6)
        let used = (0..<6).compactMap { _ in ring.takeUsed() }
        #expect(used.map(\.head) == [4, 6, 0, 2, 4, 6] && used[1].written == 7)
    }

    @Test("Indexes run through 65535 and on")
    func wrapsAround() throws {
        let state = State(nextAvailable: 1, nextUsed: 0xffff, heldHeads: [3, 5])
        let queue = try queue(state)
        ring.available.store(UInt16(1), at: 2)
        #expect(queue.state == state)
        #expect(take(queue) == [3, 5])
        queue.complete(5, written: 0)
        queue.complete(3, written: 0)
        #expect(queue.state == State(nextAvailable: 1, nextUsed: 1))
    }

    @Test("Chains that are put back come first again, whichever they are")
    func putBack() throws {
        let first = try queue()
        offer([0, 1, 2, 3])
        #expect(take(first) == [0, 1, 2, 3])
        first.putBack(3)
        #expect(first.state == State(nextAvailable: 3, nextUsed: 0, heldHeads: [0, 1, 2]), "the ring has it still")
        first.putBack(1)
        first.putBack(0)
        first.putBack(0)
        #expect(first.state == State(nextAvailable: 3, nextUsed: 0, heldHeads: [2, 0, 1]))
        #expect(first.inFlight == 1)
        #expect(take(first) == [0, 1, 3])
        let second = try queue(first.state)
        #expect(take(second) == [2, 0, 1, 3])
        for head in [3, 1, 0, 2] as [UInt16] { second.putBack(head) }
        #expect(take(second) == [2, 0, 1, 3])
    }

    @Test("A queue that has stopped hands out nothing")
    func stopped() throws {
        offer([0, 1])
        let queue = try queue(State(nextAvailable: 1, nextUsed: 0, heldHeads: [0], isStopped: true))
        #expect(queue.next() == nil && !queue.takesRequests && queue.state.isStopped)
    }

    @Test("A broken chain among the held ones stops the queue, and stays with it")
    func brokenChain() throws {
        let queue = try queue(State(nextAvailable: 2, nextUsed: 0, heldHeads: [1, 0]))
        ring.setDescriptor(0, address: .max, count: 16)
        #expect(take(queue) == [1])
        #expect(queue.failure == .buffer(GuestAddress(.max), count: 16))
        #expect(queue.state == State(nextAvailable: 2, nextUsed: 0, heldHeads: [1, 0], isStopped: true))
    }

    @Test("A held chain that is offered again stops the queue")
    func offeredAgain() throws {
        let queue = try queue(State(nextAvailable: 1, nextUsed: 0, heldHeads: [0]))
        offer([0, 0])
        #expect(take(queue) == [0])
        #expect(queue.failure == .headInFlight(0))
    }

    @Test("One turn hands out no more held chains than others")
    func budget() throws {
        let layout = QueueLayout(
            size: 256, descriptorTable: GuestAddress(0x1000), availableRing: GuestAddress(0x4000),
            usedRing: GuestAddress(0x6000))
        let queue = try Virtqueue(index: 0, layout: layout, maximumSize: 256, features: features, memory: memory)
        try queue.restore(State(nextAvailable: 200, nextUsed: 0, heldHeads: Array(0..<200)))
        #expect(take(queue).count == Virtqueue.chainsPerTurn)
        #expect(queue.renewBudget())
        #expect(take(queue).count == 200 - Virtqueue.chainsPerTurn)
    }

    static let hostile: [(String, State)] = [
        ("used ahead of available", State(nextAvailable: 0, nextUsed: 1)),
        ("chains lost", State(nextAvailable: 4, nextUsed: 1, heldHeads: [0, 1])),
        ("chains too many", State(nextAvailable: 4, nextUsed: 3, heldHeads: [0, 1])),
        ("a head twice", State(nextAvailable: 2, nextUsed: 0, heldHeads: [7, 7])),
        ("a head outside", State(nextAvailable: 1, nextUsed: 0, heldHeads: [8])),
        ("the largest head", State(nextAvailable: 1, nextUsed: 0, heldHeads: [.max])),
        ("more than the queue", State(nextAvailable: 9, nextUsed: 0, heldHeads: Array(0..<9))),
        ("as many as an index counts", State(nextAvailable: 0, nextUsed: 0, heldHeads: Array(0...0xffff))),
    ]

    @Test("States that no queue can have are refused", arguments: hostile.indices)
    func hostileStates(row: Int) throws {
        let (name, state) = Self.hostile[row]
        let queue = try queue()
        #expect(throws: StateError.self, "\(name)") { try queue.restore(state) }
        offer([3])
        #expect(take(queue) == [3], "it is as it was")
    }
}
