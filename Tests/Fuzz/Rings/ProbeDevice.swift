import Host
import TestSupport
import Virtio

/// A device that fills what it may write, at once or later, and looks at each chain before it does.
final class ProbeDevice: VirtioDevice {
    private(set) var requests = 0
    private(set) var held: [(queue: Virtqueue, head: UInt16)] = []
    private(set) var isActive = false
    /// What went wrong, if anything did.
    private(set) var violation: (any Error)?
    /// Requests are kept until `release`.
    var holdsRequests = false
    /// Called with each chain, before anything is written.
    var inspect: (Virtqueue, DescriptorChain) throws -> Void = { _, _ in }
    /// Called when a queue has no request.
    var inspectEmpty: (Virtqueue) throws -> Void = { _ in }

    init(queueSizes: [UInt16]) {
        var config = ConfigSpace(size: 16)
        config.set(UInt64(0x0807_0605_0403_0201), at: 0)
        super.init(
            id: "probe", type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: queueSizes, config: config)
    }

    /// Takes what went wrong.
    func takeViolation() throws {
        defer { violation = nil }
        if let violation { throw violation }
    }

    override func activate(_ context: DeviceContext) {
        if isActive { violation = Violation(description: "activated twice without a reset") }
        isActive = true
    }

    override func process(_ queue: Virtqueue) {
        do {
            try expect(isActive, "asked to process a queue without a driver")
            while let chain = queue.next() {
                requests += 1
                try inspect(queue, chain)
                if holdsRequests {
                    held.append((queue, chain.head))
                } else {
                    while let piece = chain.writable.takePiece() { piece.fill(0x77) }
                    // More than there was room for: the queue must not repeat it.
                    queue.complete(chain.head, written: .max)
                }
                try expect(held.count <= queueSizes.reduce(0) { $0 + Int($1) }, "more in flight than fits the queues")
            }
            try inspectEmpty(queue)
        } catch {
            violation = error
        }
    }

    override var isIdle: Bool { held.isEmpty }

    override func reset() {
        if !held.isEmpty { violation = Violation(description: "reset with requests in flight") }
        isActive = false
    }

    /// Completes what was held, the last first if `isReversed`.
    func release(isReversed: Bool = false) {
        for (queue, head) in isReversed ? held.reversed() : held { queue.complete(head, written: 0) }
        held = []
        operationCompleted(tag: 0, result: 0)
    }
}
