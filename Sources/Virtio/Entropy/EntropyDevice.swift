package import Backends
import EventLoop
import Host

/// A source of entropy (virtio 1.2 section 5.4): fills the driver's buffers with bytes of a file of the host.
///
/// It serves one request at a time, in the order of the queue, and reads directly into the driver's buffers. Reading
/// begins when the limit allows all wanted bytes and the file has some, so a slow file blocks neither the reactor nor a
/// pause. The driver gets the bytes of one read, which can be fewer than it asked for.
package final class EntropyDevice: VirtioDevice {
    /// The user's limit: so many bytes in so many milliseconds, on average.
    package struct Limit: Sendable {
        package let bytes: UInt64
        package let milliseconds: UInt64

        package init(bytes: UInt64, milliseconds: UInt64) {
            self.bytes = bytes
            self.milliseconds = milliseconds
        }
    }

    private enum Phase: UInt32 {
        /// Nothing is in flight.
        case idle
        /// Waits until the file is readable.
        case polling
        case reading
        /// Waits for the limit, or for another try after a failed read.
        case waiting
    }

    private let source: RandomSource
    private var limiter: RateLimiter?
    private let mostBytes: Int
    private let vectors = IOVectors(capacity: Int(EntropyDevice.queueSize))
    private var phase = Phase.idle
    private var isReadable = false
    private var context: DeviceContext?
    private var queue: Virtqueue?
    /// The request under way; the device takes no other one before it has ended.
    private var chain: DescriptorChain?
    private var registered: (file: IOFile, reactor: Reactor)?
    /// Whether the log has the failure already.
    private var hasFailed = false

    private static let queueSize: UInt16 = 256
    /// The most bytes of one request; a driver that wants more asks again.
    private static let mostBytes = 64 << 10
    /// The time before the next try, after a failed read or the end of the file, in nanoseconds.
    private static let retryTime: UInt64 = 100_000_000

    /// - Parameter source: used by this device alone.
    package init(id: String, source: RandomSource, limit: Limit? = nil) {
        self.source = source
        limiter = limit.flatMap { RateLimiter(bytes: $0.bytes, milliseconds: $0.milliseconds) }
        mostBytes = Int(clamping: min(limit?.bytes ?? .max, UInt64(Self.mostBytes)))
        super.init(id: id, type: .entropy, features: .splitRing, queueSizes: [Self.queueSize])
        if source.isRegular {
            Log.warn(
                id, "'\(source.path)' is a regular file: its bytes are used once, and other processes may know them")
        }
    }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        queue = context.queue(0)
        if registered == nil { registered = (context.reactor.register(source.descriptor), context.reactor) }
    }

    // No operation but a read touches guest memory, and a read does not wait.
    override package var isIdle: Bool { phase != .reading }

    override package func cancelRequests() {
        if phase != .reading, let chain { queue?.putBack(chain.head) }
        chain = nil
        if phase != .idle { context?.reactor.cancel(tag: phase.rawValue, of: self) }
    }

    override package func reset() {
        context = nil
        queue = nil
        chain = nil
    }

    override package func retired() {
        if let registered { registered.reactor.unregister(registered.file) }
    }

    override package var deviceState: DeviceState { .entropy(limiter?.state(at: Clock.monotonic)) }

    /// Takes over a saved state; the queue hands out the request under way again.
    override package func restore(_ state: DeviceState) throws(StateError) {
        guard case .entropy(let saved) = state else { throw .otherType }
        if let saved { limiter?.restore(saved, at: Clock.monotonic) }
    }

    // MARK: Requests

    override package func process(_ queue: Virtqueue) {
        guard phase == .idle, let context, let chain = chain ?? nextRequest(queue) else { return }
        self.chain = chain
        let wanted = min(chain.writable.byteCount, mostBytes)
        if let ready = limiter?.wait(for: UInt32(clamping: wanted), at: Clock.monotonic) {
            submit(.timeout(at: ready), .waiting, context)
        } else if !isReadable {
            submit(.poll(file, PollEvents.readable), .polling, context)
        } else {
            isReadable = false
            submit(.readv(file, vectors, fillVectors(chain, wanted), at: Operation.currentPosition), .reading, context)
        }
    }

    /// The next request with room for any bytes.
    private func nextRequest(_ queue: Virtqueue) -> DescriptorChain? {
        while let chain = queue.next() {
            if !chain.writable.isEmpty { return chain }
            queue.complete(chain.head, written: 0)
        }
        return nil
    }

    /// Puts the first `count` bytes of the request's buffers into the vector table.
    private func fillVectors(_ chain: DescriptorChain, _ count: Int) -> Range<Int> {
        var left = count
        var used = 0
        while left > 0, let piece = chain.writable[used], vectors.set(used, piece.prefix(left)) {
            left -= min(left, piece.count)
            used += 1
        }
        return 0..<used
    }

    private func submit(_ operation: consuming Operation, _ phase: Phase, _ context: DeviceContext) {
        if context.reactor.submit(operation, for: self, tag: phase.rawValue) { self.phase = phase }
    }

    private var file: IOFile { registered?.file ?? IOFile(descriptor: source.descriptor) }

    override package func ioCompleted(tag: UInt32, result: Int32) {
        let ended = phase
        phase = .idle
        guard let context, let queue else { return }
        // Without a request the operation was an earlier driver's, and the next driver may wait.
        if let chain {
            switch ended {
            case .polling where result >= 0: isReadable = true
            case .reading where result > 0: give(UInt32(result), chain, queue)
            case .polling, .reading: return retry(result, context)
            case .waiting, .idle: break
            }
        }
        context.resume(queue)
    }

    private func give(_ count: UInt32, _ chain: DescriptorChain, _ queue: Virtqueue) {
        limiter?.spend(count)
        queue.complete(chain.head, written: count)
        self.chain = nil
        hasFailed = false
    }

    /// Tries again later, after a read without bytes.
    private func retry(_ result: Int32, _ context: DeviceContext) {
        let error = Errno(rawValue: -result)
        let isTransient = error == .again || error == .interrupted
        if !isTransient, !hasFailed {
            hasFailed = true
            let reason = result == 0 ? "has no more bytes" : "cannot be read: \(error)"
            Log.error(id, "'\(source.path)' \(reason); the guest waits for entropy")
        }
        let pause = isTransient ? Self.retryTime / 10 : Self.retryTime
        submit(.timeout(at: Clock.monotonic &+ pause), .waiting, context)
    }
}
