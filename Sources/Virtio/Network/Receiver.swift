import Backends
import Host

/// Reads frames from one queue of a tap, straight into the buffers that the driver has offered.
///
/// Without buffers nothing is read: frames wait in the tap.
final class Receiver {
    private let tap: TapQueue
    private let filter: ReceiveFilter
    private let window = RxBufferQueue()
    private var queue: Virtqueue?
    private var counts = NetworkCounters()
    /// Whether the tap may have a frame.
    private var isReadable = true
    private var hasFailed = false
    /// How large a frame is that waits for more buffers; 0 if there is none.
    private var waitingBytes = 0

    /// What the window has room for.
    private var reserve = 1
    private var isMergeable = false
    private var takesSegments = false
    private var takesUnfinished = false

    /// Whether frames go to the driver. If not, they are dropped.
    var isOpen = false
    /// Whether the kernel gives frames to this queue of the tap.
    private var isAttached = false

    /// How much is read in one turn, so that others get theirs and the driver hears of it soon.
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

    /// Forgets the queue, which keeps the buffers that no frame has filled.
    func stop() {
        if let queue { window.empty(into: queue) }
        queue = nil
        waitingBytes = 0
    }

    /// Says which frames the driver takes: its features, or what it has left of them by a command.
    ///
    /// - Parameter largestPacket: of a frame that is not to be cut, in bytes.
    func setOffloads(_ offloads: Features, largestPacket: Int) {
        takesUnfinished = offloads.contains(.netGuestChecksum)
        takesSegments = !offloads.isDisjoint(with: .netGuestSegments)
        let frame = takesSegments ? Ethernet.largestFrame : largestPacket &+ Ethernet.headerSize &+ 4
        reserve = isMergeable ? NetworkHeader.size &+ min(frame, Ethernet.largestFrame) : 1
    }

    func setAttached(_ isAttached: Bool) {
        self.isAttached = isAttached
        isReadable = isAttached
    }

    // MARK: Frames

    /// The tap has frames, or has failed, which the next read will tell.
    func becameReadable() -> RxOutcome {
        isReadable = true
        return receive()
    }

    /// Reads what the tap has and the driver has room for.
    func receive() -> RxOutcome {
        guard let queue, queue.takesRequests, isAttached, !hasFailed else { return .nothing }
        if waitingBytes > 0 { finishWaiting(queue) }
        var framesLeft = Self.framesPerTurn
        var bytesLeft = Self.bytesPerTurn
        while waitingBytes == 0 {
            guard isReadable else { return .poll }
            guard framesLeft > 0, bytesLeft > 0 else { return .again }
            guard window.fill(reserve, queue) else { return .nothing }
            let result = window.read(tap)
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
        if count <= window.byteCount {
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
            // A frame from before this driver, which the kernel has not cut for it.
            guard window.load(UInt16.self, at: 0) & NetworkHeader.segmentation == 0 else { return false }
        }
        return filter.isOpen
            || filter.wants(window.load(at: NetworkHeader.size), window.load(at: NetworkHeader.size + 8))
    }

    /// Gives a frame to the driver once it has offered as many buffers as the frame takes.
    private func finishWaiting(_ queue: Virtqueue) {
        switch window.complete(waitingBytes, queue) {
        case .waits: return
        case .fits: give(waitingBytes, queue)
        case .neverFits: counts.errors &+= 1
        }
        waitingBytes = 0
    }

    private func give(_ count: Int, _ queue: Virtqueue) {
        // Without the feature the driver must find no flags, and the kernel may have found a checksum to be right.
        if !takesUnfinished { window.store(UInt8(0), at: 0) }
        window.give(count, queue)
        counts.packets &+= 1
        counts.bytes &+= UInt64(truncatingIfNeeded: count &- NetworkHeader.size)
    }
}
