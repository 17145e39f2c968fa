import Host
package import Memory
import Synchronization

/// A split virtqueue as the device sees it (virtio 1.2 section 2.7).
///
/// It trusts nothing that the driver wrote: its addresses were checked and translated once, indexes, chains and buffers
/// are checked as they come, and each is read from guest memory a single time. A mistake of the driver stops the queue
/// until a reset, with `failure` as the reason; the device only sees an empty queue.
///
/// Requests leave by `next()` and return by `complete(_:written:)`, in any order. Neither allocates.
public final class Virtqueue {
    /// The queue's number on its device.
    package let index: Int
    /// Where the driver put the queue; it cannot change while the device runs.
    package let layout: QueueLayout

    private let memory: GuestMemory
    private let descriptors: HostSlice
    private let available: HostSlice
    private let used: HostSlice
    private let availableFlags: SharedWord
    private let availableIndex: SharedWord
    /// Where the driver says when it wants an interrupt, with `eventIndex`.
    private let usedEvent: SharedWord
    private let usedFlags: SharedWord
    private let usedIndex: SharedWord
    /// Where the device says when it wants a notification, with `eventIndex`.
    private let availableEvent: SharedWord

    private let usesIndirect: Bool
    private let usesEventIndex: Bool
    private let mask: UInt16
    private let chain: DescriptorChain
    private let inFlightTable: InFlightTable
    private var inFlightCount = 0
    /// How many chains were handed out, for their order.
    private var takenCount: UInt32 = 0
    /// The heads to hand out before any of the available ring, the last one first.
    private var heldBack: [UInt16] = []

    /// The next entry of the available ring to take.
    private var nextAvailable: UInt16 = 0
    /// The available index as last seen.
    private var seenAvailable: UInt16 = 0
    /// The next entry of the used ring to fill.
    private var nextUsed: UInt16 = 0
    /// The used index as the driver can see it.
    private var publishedUsed: UInt16 = 0
    private var turnBudget = Virtqueue.chainsPerTurn
    private var isOutOfBudget = false
    private var mode: QueueMode = []
    private var lastFailure: QueueError?

    /// How many chains one queue may hand out in one turn of the reactor, so that others get their turn too.
    package static let chainsPerTurn = 128
    /// The largest queue the specification knows.
    package static let largestSize: UInt16 = 32768

    /// Checks and translates `layout`.
    ///
    /// - Parameters:
    ///   - index: the queue's number on its device.
    ///   - maximumSize: the most descriptors the device allows.
    ///   - features: what was negotiated; says whether indirect descriptors and event indexes are in use.
    package init(
        index: Int, layout: QueueLayout, maximumSize: UInt16, features: Features, memory: GuestMemory
    ) throws(QueueError) {
        let size = layout.size
        guard size > 0, size & (size &- 1) == 0, size <= min(maximumSize, Self.largestSize) else {
            throw .size(UInt32(size), maximum: maximumSize)
        }
        descriptors = try layout.resolve(.descriptorTable, in: memory)
        available = try layout.resolve(.availableRing, in: memory)
        used = try layout.resolve(.usedRing, in: memory)
        guard let availableFlags = SharedWord(available, at: 0), let availableIndex = SharedWord(available, at: 2),
            let usedEvent = SharedWord(available, at: 4 + 2 * Int(size))
        else { throw .layout(.availableRing, layout.availableRing) }
        guard let usedFlags = SharedWord(used, at: 0), let usedIndex = SharedWord(used, at: 2),
            let availableEvent = SharedWord(used, at: 4 + 8 * Int(size))
        else { throw .layout(.usedRing, layout.usedRing) }
        self.availableFlags = availableFlags
        self.availableIndex = availableIndex
        self.usedEvent = usedEvent
        self.usedFlags = usedFlags
        self.usedIndex = usedIndex
        self.availableEvent = availableEvent
        self.index = index
        self.layout = layout
        self.memory = memory
        usesIndirect = features.contains(.ringIndirectDescriptors)
        usesEventIndex = features.contains(.ringEventIndex)
        mask = size &- 1
        chain = DescriptorChain(capacity: Int(size))
        inFlightTable = InFlightTable(size: size)
    }

    /// How many descriptors the queue has.
    package var size: UInt16 { layout.size }

    /// How many chains the device has taken and not given back.
    package var inFlight: Int { inFlightCount }

    /// Where the device is in the available ring: the number of requests that it has taken, modulo 2^16.
    package var position: UInt16 { nextAvailable }

    /// Why the queue has stopped, if the driver broke the rules.
    package var failure: QueueError? { lastFailure }

    /// Whether requests may be taken: not while the device is paused, nor after it has stopped.
    package var takesRequests: Bool { mode.isDisjoint(with: [.stopped, .paused]) }

    // MARK: From one device or server to the next

    /// Where the queue is; at rest, when all that was given back has been published.
    package var state: State {
        State(
            nextAvailable: nextAvailable, nextUsed: nextUsed,
            heldHeads: inFlightTable.taken(of: takenCount) + heldBack.reversed(), isStopped: mode.contains(.stopped))
    }

    /// Goes on where another queue was; for a new queue. Chains are checked again when they are handed out.
    ///
    /// - Throws: for a state that this queue cannot have.
    package func restore(_ state: State) throws(StateError) {
        try state.check(size: size)
        goOn(at: state.nextAvailable)
        nextUsed = state.nextUsed
        publishedUsed = state.nextUsed
        heldBack = state.heldHeads.reversed()
        for head in heldBack { inFlightTable.holdBack(head) }
        if !heldBack.isEmpty { mode.insert(.holdsBack) }
        if state.isStopped { mode.insert(.stopped) }
    }

    /// Goes on where a server outside this queue has left off, which took that many requests, modulo 2^16, and gave all
    /// of them back.
    package func goOn(at position: UInt16) {
        guard inFlightCount == 0, heldBack.isEmpty else { return }
        nextAvailable = position
        seenAvailable = position
        nextUsed = position
        publishedUsed = position
    }

    /// Leaves the queue to a server outside it, which only knows the available ring: chains that are held back return
    /// there, as long as the ring still names them.
    ///
    /// - Returns: where the server goes on; nil if it would miss chains.
    func leave() -> UInt16? {
        guard inFlightCount == 0 else { return nil }
        for (distance, head) in heldBack.enumerated() {
            let entry = nextAvailable &- 1 &- UInt16(truncatingIfNeeded: distance)
            guard available.load(at: 4 &+ 2 &* Int(entry & mask)) == head else { return nil }
        }
        for head in heldBack {
            inFlightTable.forget(head)
            nextAvailable &-= 1
        }
        heldBack = []
        mode.remove(.holdsBack)
        return nextAvailable
    }

    // MARK: From the driver

    /// Takes the next request; nil if there is none, or none for now.
    ///
    /// On nil the driver notifies the device again, or the device's `process` is called once more in the next turn:
    /// a device may simply take requests until there is none, at any time and as often as it likes.
    package func next() -> DescriptorChain? {
        guard mode.isEmpty else { return mode == .holdsBack ? nextHeldBack() : nil }
        guard turnBudget > 0 else {
            isOutOfBudget = true
            return nil
        }
        do throws(QueueError) {
            guard try hasAvailable() else { return nil }
            try walk(head: takeHead())
        } catch {
            fail(error)
            return nil
        }
        nextAvailable &+= 1
        noteTaken()
        return chain
    }

    /// Takes the first chain that is held back.
    private func nextHeldBack() -> DescriptorChain? {
        guard turnBudget > 0, let head = heldBack.last else {
            isOutOfBudget = true
            return nil
        }
        do throws(QueueError) {
            try walk(head: head)
        } catch {
            fail(error)
            return nil
        }
        heldBack.removeLast()
        if heldBack.isEmpty { mode.remove(.holdsBack) }
        noteTaken()
        return chain
    }

    private func fail(_ error: QueueError) {
        lastFailure = error
        mode.insert(.stopped)
    }

    @inline(__always)
    private func noteTaken() {
        turnBudget &-= 1
        inFlightTable.insert(
            chain.head, writable: UInt32(truncatingIfNeeded: chain.writable.byteCount), order: takenCount)
        takenCount &+= 1
        inFlightCount &+= 1
    }

    /// Whether a request waits; looks once more after asking the driver for notifications, so that none is missed.
    @inline(__always)
    private func hasAvailable() throws(QueueError) -> Bool {
        if seenAvailable != nextAvailable { return true }
        try readAvailableIndex()
        if seenAvailable != nextAvailable { return true }
        enableNotifications()
        try readAvailableIndex()
        guard seenAvailable != nextAvailable else { return false }
        suppressNotifications()
        return true
    }

    @inline(__always)
    private func readAvailableIndex() throws(QueueError) {
        let index = availableIndex.load()
        guard index &- nextAvailable <= layout.size else {
            throw .availableIndex(index, expected: nextAvailable)
        }
        seenAvailable = index
    }

    @inline(__always)
    private func takeHead() throws(QueueError) -> UInt16 {
        let head: UInt16 = available.load(at: 4 &+ 2 &* Int(nextAvailable & mask)) ?? .max
        guard head < layout.size else { throw .descriptorIndex(head) }
        guard !inFlightTable.contains(head) else { throw .headInFlight(head) }
        return head
    }

    /// Follows the chain from `head` and fills the two lists.
    ///
    /// Direct and indirect descriptors together are bounded by the queue's size, so a loop ends. A buffer without
    /// bytes is left out of the lists, and counts towards that bound.
    @inline(__always)
    private func walk(head: UInt16) throws(QueueError) {
        chain.currentHead = head
        chain.readable.clear()
        chain.writable.clear()
        var table = descriptors
        var tableSize = layout.size
        var index = head
        var left = layout.size
        var isIndirect = false
        var bytes: UInt64 = 0
        while true {
            guard index < tableSize, let descriptor = Descriptor(table, index) else { throw .descriptorIndex(index) }
            if descriptor.flags.contains(.indirect) {
                table = try indirectTable(descriptor, isNested: isIndirect)
                tableSize = UInt16(truncatingIfNeeded: table.count / Descriptor.size)
                isIndirect = true
                index = 0
                continue
            }
            guard left > 0 else { throw .chainTooLong(head: head) }
            left &-= 1
            bytes &+= UInt64(descriptor.length)
            guard bytes <= UInt64(UInt32.max) else { throw .tooManyBytes(head: head) }
            if descriptor.length > 0 { try add(descriptor) }
            guard descriptor.flags.contains(.next) else { return }
            index = descriptor.next
        }
    }

    @inline(__always)
    private func add(_ descriptor: Descriptor) throws(QueueError) {
        guard let slice = memory.slice(at: descriptor.address, count: UInt64(descriptor.length)) else {
            throw .buffer(GuestAddress(descriptor.address), count: descriptor.length)
        }
        if descriptor.flags.contains(.write) {
            guard chain.writable.append(slice) else { throw .chainTooLong(head: chain.head) }
        } else {
            guard chain.writable.isEmpty else { throw .readableAfterWritable(head: chain.head) }
            guard chain.readable.append(slice) else { throw .chainTooLong(head: chain.head) }
        }
    }

    /// The table that an indirect descriptor names (virtio 1.2 section 2.7.5.3).
    private func indirectTable(_ descriptor: Descriptor, isNested: Bool) throws(QueueError) -> HostSlice {
        guard usesIndirect else { throw .indirectNotNegotiated }
        guard !isNested, !descriptor.flags.contains(.next) else { throw .indirectNested }
        let length = descriptor.length
        guard length > 0, length % UInt32(Descriptor.size) == 0,
            length / UInt32(Descriptor.size) <= UInt32(layout.size)
        else { throw .indirectSize(length) }
        guard let table = memory.slice(at: descriptor.address, count: UInt64(length)) else {
            throw .buffer(GuestAddress(descriptor.address), count: length)
        }
        return table
    }

    // MARK: To the driver

    /// Gives a chain back; the driver sees it, and gets an interrupt if it wants one, at the end of the turn.
    ///
    /// - Parameters:
    ///   - head: the chain's `head`.
    ///   - written: how many bytes the device wrote; no more than the chain had room for is reported.
    /// - Returns: false if the device does not hold this chain.
    @discardableResult
    package func complete(_ head: UInt16, written: UInt32) -> Bool {
        guard let writable = inFlightTable.remove(head) else { return false }
        inFlightCount &-= 1
        let element = UInt64(head) | UInt64(min(written, writable)) << 32
        used.store(element, at: 4 &+ 8 &* Int(nextUsed & mask))
        nextUsed &+= 1
        return true
    }

    /// Shows the driver what was given back since the last call.
    ///
    /// - Returns: whether the driver wants an interrupt for it.
    package func publish() -> Bool {
        let old = publishedUsed
        guard nextUsed != old else { return false }
        usedIndex.store(nextUsed)
        publishedUsed = nextUsed
        // The index must be visible before we look whether the driver waits for it.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard usesEventIndex else { return availableFlags.load() & 1 == 0 }
        return nextUsed &- usedEvent.load() &- 1 < nextUsed &- old
    }

    /// Has an untouched chain handed out again, before all others.
    package func putBack(_ head: UInt16) {
        let isLast = inFlightTable.isLast(head, of: takenCount)
        guard inFlightTable.remove(head) != nil else { return }
        inFlightCount &-= 1
        if isLast {
            // As if it had not been taken from the available ring.
            nextAvailable &-= 1
            takenCount &-= 1
        } else {
            inFlightTable.holdBack(head)
            heldBack.append(head)
            mode.insert(.holdsBack)
        }
    }

    // MARK: Notifications and turns

    /// Asks the driver to leave out notifications; it may still send some.
    package func suppressNotifications() {
        // With event indexes the driver keeps quiet until it passes `availableEvent` anyway.
        if !usesEventIndex { usedFlags.store(1) }
    }

    /// Asks the driver for a notification with the next request.
    private func enableNotifications() {
        if usesEventIndex { availableEvent.store(nextAvailable) } else { usedFlags.store(0) }
        // The wish must be visible before we look for what came in the meantime.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Allows a turn's worth of requests again; true if the last turn ended for want of it.
    package func renewBudget() -> Bool {
        let wasOut = isOutOfBudget
        isOutOfBudget = false
        turnBudget = Self.chainsPerTurn
        return wasOut
    }

    /// Hands out no more requests, for good; those in flight can still be given back.
    func stop() {
        mode.insert(.stopped)
    }

    /// Hands out no requests while the device is paused.
    func setPaused(_ isPaused: Bool) {
        if isPaused { mode.insert(.paused) } else { mode.remove(.paused) }
    }
}
