import Backends
import Host

/// Reads frames from one queue of a tap, directly into the driver's buffers.
///
/// Without buffers it reads nothing: frames wait in the tap.
final class Receiver {
    private let tap: TapQueue
    private let filter: ReceiveFilter
    private let buffers = RxBufferQueue()
    private var queue: Virtqueue?
    private var counts = NetworkCounters()
    /// Whether the tap may have a frame.
    private var isReadable = true
    private var hasFailed = false
    /// The size of a frame that waits for more buffers; 0 without one.
    private var waitingBytes = 0

    /// The bytes of buffers to take before a read.
    private var reserve = 1
    private var isMergeable = false
    private var takesSegments = false
    private var takesPartialChecksums = false

    /// Whether frames go to the driver; if not, they are dropped.
    var isOpen = false
    /// Whether the kernel gives frames to this queue of the tap.
    private var isAttached = false

    /// The limits of one turn, so that other devices get theirs and the driver gets its frames soon.
    private static let framesPerTurn = 64
    private static let bytesPerTurn = 512 << 10

    init(_ tap: TapQueue, filter: ReceiveFilter) {
        self.tap = tap
        self.filter = filter
    }

    var counters: NetworkCounters { counts }

    // MARK: Life

    func start(_ queue: Virtqueue?, _ features: Features) {
        self.queue = queue
        isMergeable = features.contains(.netMergeableBuffers)
        isReadable = true
    }

    /// Forgets the queue, and gives unused buffers back to it.
    func stop() {
        if let queue { buffers.empty(into: queue) }
        queue = nil
        waitingBytes = 0
    }

    /// Sets the offloads that the driver takes.
    ///
    /// - Parameter largestPacket: bytes of the largest packet without segmentation offload.
    func setOffloads(_ offloads: Features, largestPacket: Int) {
        takesPartialChecksums = offloads.contains(.netGuestChecksum)
        takesSegments = !offloads.isDisjoint(with: .netGuestSegments)
        let frame = takesSegments ? Ethernet.largestFrame : largestPacket &+ Ethernet.headerSize &+ 4
        reserve = isMergeable ? NetworkHeader.size &+ min(frame, Ethernet.largestFrame) : 1
    }

    func setAttached(_ isAttached: Bool) {
        self.isAttached = isAttached
        isReadable = isAttached
    }

    // MARK: Frames

    /// Receives after a poll: the tap has frames, or the next read returns its error.
    func becameReadable() -> NextAction {
        isReadable = true
        return receive()
    }

    /// Reads the tap's frames, as far as the driver has buffers.
    func receive() -> NextAction {
        guard let queue, queue.takesRequests, isAttached, !hasFailed else { return .nothing }
        if waitingBytes > 0 { finishWaiting(queue) }
        var framesLeft = Self.framesPerTurn
        var bytesLeft = Self.bytesPerTurn
        while waitingBytes == 0 {
            guard isReadable else { return .poll }
            guard framesLeft > 0, bytesLeft > 0 else { return .again }
            guard buffers.fill(reserve, queue) else { return .nothing }
            let result = buffers.read(tap)
            guard result > 0 else {
                let error = Errno(rawValue: Int32(truncatingIfNeeded: -result))
                if error == .interrupted { continue }
                isReadable = false
                hasFailed = error != .again
                return hasFailed ? .failed : .poll
            }
            framesLeft &-= 1
            bytesLeft &-= result
            deliver(result, queue)
        }
        return .nothing
    }

    private func deliver(_ count: Int, _ queue: Virtqueue) {
        guard count >= NetworkHeader.size + Ethernet.headerSize else {
            counts.errors &+= 1
            return
        }
        guard isOpen, isWanted else {
            counts.drops &+= 1
            return
        }
        if count <= buffers.byteCount {
            give(count, queue)
        } else if isMergeable {
            waitingBytes = count
            finishWaiting(queue)
        } else {
            counts.errors &+= 1
        }
    }

    private var isWanted: Bool {
        if !takesSegments {
            // The kernel queued this frame for an earlier driver, and did not segment it.
            guard buffers.load(UInt16.self, at: 0) & NetworkHeader.segmentation == 0 else { return false }
        }
        return filter.isOpen
            || filter.wants(buffers.load(at: NetworkHeader.size), buffers.load(at: NetworkHeader.size + 8))
    }

    /// Gives a frame to the driver when there are enough buffers for it.
    private func finishWaiting(_ queue: Virtqueue) {
        switch buffers.complete(waitingBytes, queue) {
        case .waits: return
        case .fits: give(waitingBytes, queue)
        case .neverFits: counts.errors &+= 1
        }
        waitingBytes = 0
    }

    private func give(_ count: Int, _ queue: Virtqueue) {
        // The kernel may set a flag for a checksum that it verified; without the feature the driver must not see it.
        if !takesPartialChecksums { buffers.store(UInt8(0), at: 0) }
        buffers.give(count, queue)
        counts.packets &+= 1
        counts.bytes &+= UInt64(truncatingIfNeeded: count &- NetworkHeader.size)
    }
}
