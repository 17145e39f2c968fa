import Backends
import EventLoop
import Host

/// Writes the driver's frames to one queue of a tap, straight from guest memory.
///
/// Each frame has a slot from arrival to end. All that the driver offers is written at once, in its order; when the tap
/// takes no more, what it did not take waits until it does, and the driver's further frames stay in the queue.
final class Transmitter {
    private struct Slot: BitwiseCopyable {
        var head: UInt16 = 0
        /// The entries of the frame's buffers.
        var first: Int32 = 0
        var count: Int32 = 0
        var bytes: UInt32 = 0
        /// The next slot of the same list, free or waiting; -1 at the end.
        var next: Int32 = -1
    }

    static let slotCount = 64
    /// Buffers of a usual frame. One with more takes the large part of the table, which there is once.
    private static let usualSegments = 32
    /// The most that the kernel takes in one operation (`UIO_MAXIOV`).
    private static let mostSegments = 1024
    private static let largeFirst = slotCount * usualSegments

    private let file: IOFile
    private let slots: FixedTable<Slot>
    private let vectors = IOVectors(capacity: Transmitter.largeFirst + Transmitter.mostSegments)
    private var firstFree: Int32 = 0
    private var firstWaiting: Int32 = -1
    private var lastWaiting: Int32 = -1
    private var isLargeTaken = false
    private var writesInFlight = 0
    private var isPolling = false
    /// Requests may be left in the queue for want of a slot.
    private var isShort = false
    private var queue: Virtqueue?
    private var counts = NetworkCounters()

    /// Whether frames go to the tap. If not, they are dropped.
    var isOpen = false

    /// What became of an operation.
    enum Event {
        case nothing
        /// There is room again: the queue is to be processed.
        case roomy
        /// The tap is no more.
        case gone
    }

    init(_ file: IOFile) {
        self.file = file
        slots = FixedTable(repeating: Slot(), count: Self.slotCount)
        freeAll()
    }

    /// The poll has ended between two drivers.
    func forgetPoll() { isPolling = false }

    var counters: NetworkCounters { counts }

    /// Whether the kernel reads no guest memory.
    var isIdle: Bool { writesInFlight == 0 }

    func start(_ queue: Virtqueue?) { self.queue = queue }

    /// Forgets the queue and what is in it; nothing is in flight.
    func stop() {
        queue = nil
        freeAll()
    }

    private func freeAll() {
        for slot in 0..<Self.slotCount { slots[slot].next = slot + 1 < Self.slotCount ? Int32(slot + 1) : -1 }
        firstFree = 0
        firstWaiting = -1
        lastWaiting = -1
        isLargeTaken = false
        isShort = false
    }

    // MARK: From the driver

    /// Sends what the queue has.
    func process(_ queue: Virtqueue, _ port: NetworkPort) {
        if firstWaiting >= 0, !isPolling { writeWaiting(queue, port) }
        while mayTake, let chain = queue.next() { take(chain, queue, port) }
    }

    private var mayTake: Bool {
        // The order of frames is kept: while some wait for the tap, none may overtake them.
        guard firstWaiting < 0 else { return false }
        guard firstFree >= 0, !isLargeTaken else {
            isShort = true
            return false
        }
        return true
    }

    private func take(_ chain: DescriptorChain, _ queue: Virtqueue, _ port: NetworkPort) {
        let frame = chain.readable
        let bytes = frame.byteCount
        guard isOpen else {
            counts.drops &+= 1
            queue.complete(chain.head, written: 0)
            return
        }
        guard bytes > NetworkHeader.size, bytes <= NetworkHeader.size + Ethernet.largestFrame,
            frame.count <= Self.mostSegments
        else {
            counts.errors &+= 1
            queue.complete(chain.head, written: 0)
            return
        }
        let slot = Int(firstFree)
        firstFree = slots[slot].next
        var first = slot &* Self.usualSegments
        if frame.count > Self.usualSegments {
            first = Self.largeFirst
            isLargeTaken = true
        }
        for index in 0..<frame.count { if let piece = frame[index] { vectors.set(first &+ index, piece) } }
        slots[slot] = Slot(
            head: chain.head, first: Int32(truncatingIfNeeded: first), count: Int32(truncatingIfNeeded: frame.count),
            bytes: UInt32(truncatingIfNeeded: bytes), next: -1)
        write(slot, port)
    }

    private func write(_ slot: Int, _ port: NetworkPort) {
        let first = Int(slots[slot].first)
        let range = first..<first &+ Int(slots[slot].count)
        if port.submit(.writev(file, vectors, range, at: 0).withoutWaiting(), .write, slot) { writesInFlight += 1 }
    }

    // MARK: From the tap

    /// A write has ended.
    func wrote(_ slot: Int, _ result: Int32, _ port: NetworkPort) -> Event {
        writesInFlight -= 1
        if result < 0 {
            let error = Errno(rawValue: -result)
            if error == .again || error == .interrupted {
                wait(slot, port)
                return .nothing
            }
            if error != .canceled { counts.errors &+= 1 }
            end(slot)
            if error == .unattachedTap { return .gone }
        } else {
            counts.packets &+= 1
            counts.bytes &+= UInt64(slots[slot].bytes) &- UInt64(NetworkHeader.size)
            end(slot)
        }
        guard isShort, firstWaiting < 0 else { return .nothing }
        isShort = false
        return .roomy
    }

    /// The tap can take frames again, or has failed, which the next write will tell.
    func becameWritable(_ port: NetworkPort) {
        isPolling = false
        guard let queue, queue.takesRequests else { return }
        writeWaiting(queue, port)
    }

    private func wait(_ slot: Int, _ port: NetworkPort) {
        slots[slot].next = -1
        if lastWaiting >= 0 {
            slots[Int(lastWaiting)].next = Int32(truncatingIfNeeded: slot)
        } else {
            firstWaiting = Int32(truncatingIfNeeded: slot)
        }
        lastWaiting = Int32(truncatingIfNeeded: slot)
        if !isPolling { isPolling = port.submit(.poll(file, PollEvents.writable), .writable, 0) }
    }

    private func writeWaiting(_ queue: Virtqueue, _ port: NetworkPort) {
        var next = firstWaiting
        firstWaiting = -1
        lastWaiting = -1
        isShort = true
        while next >= 0 {
            let slot = Int(next)
            next = slots[slot].next
            write(slot, port)
        }
    }

    /// Gives the frame back to the driver and frees its slot.
    private func end(_ slot: Int) {
        queue?.complete(slots[slot].head, written: 0)
        if Int(slots[slot].first) == Self.largeFirst { isLargeTaken = false }
        slots[slot].next = firstFree
        firstFree = Int32(truncatingIfNeeded: slot)
    }
}
