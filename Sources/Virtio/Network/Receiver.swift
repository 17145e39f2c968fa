import Backends
import EventLoop
import Host

/// Reads frames from one queue of a tap, straight into the buffers that the driver has offered.
///
/// Nobody knows how large the next frame is, so each read gets a window of buffers that holds the largest; what the
/// frame leaves of it is for the next one. Several reads are made at once while frames keep coming, and when the tap is
/// empty it is asked to tell. Without buffers nothing is read: the frames wait in the tap.
final class Receiver {
    private let file: IOFile
    private let windows = ReceiveWindows()
    private let filter: ReceiveFilter
    private var queue: Virtqueue?
    private var counts = NetworkCounters()
    /// Reads that have not ended, and how many of those made together have found a frame.
    private var readsInFlight = 0
    private var found = 0
    private var isEmpty = false
    /// How many reads are made at once.
    private var depth = 2
    private var isPolling = false
    private var isReadable = true
    private var hasFailed = false
    /// A frame that waits for more buffers; 0 if there is none.
    private var waitingBytes = 0

    private var reserve = 0
    private var isMergeable = false
    private var takesSegments = false
    private var takesUnfinished = false

    /// Whether frames go to the driver. If not, they are dropped.
    var isOpen = false
    /// Whether the kernel gives frames to this queue of the tap.
    private var isAttached = false

    init(_ file: IOFile, filter: ReceiveFilter) {
        self.file = file
        self.filter = filter
    }

    /// The poll has ended between two drivers.
    func forgetPoll() { isPolling = false }

    var counters: NetworkCounters { counts }

    /// Whether the kernel writes no guest memory.
    var isIdle: Bool { readsInFlight == 0 }

    // MARK: Life

    func start(_ queue: Virtqueue?, _ features: Features) {
        self.queue = queue
        isMergeable = features.contains(.netMergeableBuffers)
        depth = 2
        isReadable = true
    }

    /// Says which frames the driver takes: its features, or what it has left of them by a command.
    ///
    /// - Parameter largestPacket: of a frame that is not to be cut.
    func setOffloads(_ offloads: Features, largestPacket: Int) {
        takesUnfinished = offloads.contains(.netGuestChecksum)
        takesSegments = !offloads.isDisjoint(with: .netGuestSegments)
        let frame = takesSegments ? Ethernet.largestFrame : largestPacket &+ Ethernet.headerSize &+ 4
        reserve = NetworkHeader.size &+ min(frame, Ethernet.largestFrame)
    }

    func setAttached(_ isAttached: Bool) {
        self.isAttached = isAttached
        if isAttached { isReadable = true }
    }

    /// Forgets the queue and its buffers; nothing is in flight.
    func stop() {
        queue = nil
        waitingBytes = 0
        windows.empty()
    }

    // MARK: Reading

    /// The driver may have offered buffers.
    func process(_ queue: Virtqueue, _ port: NetworkPort) {
        if waitingBytes > 0 { finishWaiting(queue) }
        receive(queue, port)
    }

    /// Reads frames if there may be some, or has the tap tell.
    private func receive(_ queue: Virtqueue, _ port: NetworkPort) {
        guard readsInFlight == 0, waitingBytes == 0, !hasFailed, isAttached, queue.takesRequests else { return }
        guard isReadable else {
            if !isPolling { isPolling = port.submit(.poll(file, PollEvents.readable), .readable, 0) }
            return
        }
        found = 0
        isEmpty = false
        while readsInFlight < depth, let range = windows.prepare(readsInFlight, queue, reserve, isMergeable) {
            let read = Operation.readv(file, windows.vectors, range, at: 0).withoutWaiting()
            guard port.submit(read, .read, readsInFlight) else { return }
            readsInFlight += 1
        }
    }

    /// The tap has frames, or has failed, which the next read will tell.
    func becameReadable(_ port: NetworkPort) {
        isPolling = false
        isReadable = true
        if let queue { receive(queue, port) }
    }

    /// A read has ended.
    ///
    /// - Returns: false if the tap is no more.
    func read(_ slot: Int, _ result: Int32, _ port: NetworkPort) -> Bool {
        readsInFlight -= 1
        guard let queue else { return true }
        if result > 0 {
            found += 1
            deliver(slot, Int(result), queue)
        } else {
            isEmpty = true
            let error = Errno(rawValue: -result)
            if error != .again, error != .interrupted, error != .canceled, isAttached { hasFailed = true }
        }
        guard readsInFlight == 0 else { return true }
        // One more than came the last time: the read that finds nothing tells that there is no more.
        depth = isEmpty ? max(2, min(found + 1, ReceiveWindows.count)) : min(depth * 2, ReceiveWindows.count)
        isReadable = !isEmpty
        receive(queue, port)
        return !hasFailed
    }

    // MARK: Delivering

    private func deliver(_ slot: Int, _ bytes: Int, _ queue: Virtqueue) {
        guard bytes >= NetworkHeader.size + Ethernet.headerSize else {
            counts.errors &+= 1
            return
        }
        guard isOpen, isWanted(slot) else {
            counts.drops &+= 1
            return
        }
        if bytes > windows.byteCount(slot) {
            guard isMergeable, windows.isShort else {
                counts.errors &+= 1
                return
            }
            waitingBytes = bytes
            finishWaiting(queue)
        } else {
            give(slot, bytes, queue)
        }
    }

    private func isWanted(_ slot: Int) -> Bool {
        if !takesSegments {
            // A frame from before this driver, which it cannot cut.
            let flags: UInt16 = windows.load(slot, at: 0)
            guard flags & NetworkHeader.segmentation == 0 else { return false }
        }
        guard !filter.isOpen else { return true }
        return filter.wants(
            windows.load(slot, at: NetworkHeader.size), windows.load(slot, at: NetworkHeader.size + 8))
    }

    /// Gives a frame to the driver once it has offered as many buffers as the frame takes.
    private func finishWaiting(_ queue: Virtqueue) {
        switch windows.complete(waitingBytes, queue) {
        case .waits: return
        case .fits: give(0, waitingBytes, queue)
        case .neverFits: counts.errors &+= 1
        }
        waitingBytes = 0
    }

    private func give(_ slot: Int, _ bytes: Int, _ queue: Virtqueue) {
        // Without the feature the driver must find no flags, and the kernel may have found a checksum to be right.
        if !takesUnfinished { windows.store(slot, UInt8(0), at: 0) }
        windows.give(slot, bytes, queue)
        counts.packets &+= 1
        counts.bytes &+= UInt64(truncatingIfNeeded: bytes &- NetworkHeader.size)
    }
}
