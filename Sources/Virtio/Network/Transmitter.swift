import Backends
import Host

/// Writes the driver's frames to one queue of a tap, directly from guest memory and in order.
///
/// If the tap is full, one frame waits for it, and further frames stay in the queue.
final class Transmitter {
    private let tap: TapQueue
    /// The frame under way.
    private let vectors = IOVectors(capacity: Transmitter.mostSegments)
    private var head: UInt16 = 0
    private var segments = 0
    private var bytes = 0
    /// Whether the frame waits for the tap.
    private var isWaiting = false
    private var hasFailed = false
    private var queue: Virtqueue?
    private var counts = NetworkCounters()

    /// Whether frames go to the tap; if not, they are dropped.
    var isOpen = false

    /// The most buffers of one write (`UIO_MAXIOV`).
    private static let mostSegments = 1024

    init(_ tap: TapQueue) {
        self.tap = tap
    }

    var counters: NetworkCounters { counts }

    func start(_ queue: Virtqueue?) { self.queue = queue }

    /// Forgets the queue, and gives a frame that waits back to it.
    func stop() {
        if isWaiting { queue?.putBack(head) }
        queue = nil
        isWaiting = false
    }

    /// Sends the frames that the driver has offered.
    func transmit() -> NextAction {
        guard let queue, queue.takesRequests else { return .nothing }
        if isWaiting, !write(queue) { return .poll }
        while let chain = queue.next() {
            guard take(chain) else {
                queue.complete(chain.head, written: 0)
                continue
            }
            if !write(queue) { return .poll }
        }
        guard hasFailed else { return .nothing }
        hasFailed = false
        return .failed
    }

    /// Takes a frame's buffers; false for a frame that must not be sent.
    private func take(_ chain: DescriptorChain) -> Bool {
        let frame = chain.readable
        guard isOpen else {
            counts.drops &+= 1
            return false
        }
        bytes = frame.byteCount
        segments = frame.count
        guard bytes > NetworkHeader.size, bytes <= NetworkHeader.size + Ethernet.largestFrame,
            segments <= Self.mostSegments
        else {
            counts.errors &+= 1
            return false
        }
        head = chain.head
        for index in 0..<segments { if let piece = frame[index] { vectors.set(index, piece) } }
        return true
    }

    /// Writes the frame and gives it back to the driver; false if the tap is full.
    private func write(_ queue: Virtqueue) -> Bool {
        var result = tap.write(from: vectors, 0..<segments)
        while result == -Int(Errno.interrupted.rawValue) { result = tap.write(from: vectors, 0..<segments) }
        isWaiting = result == -Int(Errno.again.rawValue)
        guard !isWaiting else { return false }
        if result >= 0 {
            counts.packets &+= 1
            counts.bytes &+= UInt64(truncatingIfNeeded: bytes &- NetworkHeader.size)
        } else {
            counts.errors &+= 1
            if result == -Int(Errno.unattachedTap.rawValue) { hasFailed = true }
        }
        queue.complete(head, written: 0)
        return true
    }
}
