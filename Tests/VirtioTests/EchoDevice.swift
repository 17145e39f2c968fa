import EventLoop
import Host
import Virtio

/// The smallest device: writes what it reads. It can hold requests back for as long as a test wants.
final class EchoDevice: VirtioDevice {
    private(set) var context: DeviceContext?
    private(set) var requests = 0
    private(set) var resets = 0
    private(set) var cancels = 0
    private(set) var refused: Features = []
    /// Requests are held as a real device holds those whose I/O is under way.
    var holdsRequests = false
    /// Held requests only wait for the outside world, and survive a pause.
    var waitsForOutside = false
    private(set) var held: [(queue: Virtqueue, head: UInt16)] = []
    /// Bytes seen in readable buffers, all together.
    private(set) var bytesRead = 0

    init(id: String = "echo", features: Features = .splitRing, queueSizes: [UInt16] = [256], refused: Features = []) {
        self.refused = refused
        var config = ConfigSpace(size: 12)
        config.set(UInt64(0x0807_0605_0403_0201), at: 0)
        config.set(UInt32(0xdead_beef), at: 8)
        super.init(
            id: id, type: DeviceType(rawValue: 42), features: features.union(refused), queueSizes: queueSizes,
            config: config)
    }

    override func accepts(_ features: Features) -> Bool { features.isDisjoint(with: refused) }

    override func activate(_ context: DeviceContext) { self.context = context }

    override func process(_ queue: Virtqueue) {
        while let chain = queue.next() {
            requests += 1
            bytesRead += chain.readable.byteCount
            if holdsRequests {
                held.append((queue, chain.head))
            } else {
                echo(chain, queue)
            }
        }
    }

    private func echo(_ chain: DescriptorChain, _ queue: Virtqueue) {
        var written = 0
        while let piece = chain.readable.takePiece() {
            let count = chain.writable.copy(from: piece)
            written += count
            if count < piece.count { break }
        }
        queue.complete(chain.head, written: UInt32(written))
    }

    override var isIdle: Bool { held.isEmpty || waitsForOutside }

    override func cancelRequests() { cancels += 1 }

    override func reset() {
        resets += 1
        if waitsForOutside { held = [] }
        context = nil
    }

    /// Completes what was held, and lets the worker show it.
    func releaseHeld() {
        for (queue, head) in held { queue.complete(head, written: 0) }
        held = []
        operationCompleted(tag: 0, result: 0)
    }
}
