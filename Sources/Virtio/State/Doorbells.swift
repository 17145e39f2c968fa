import EventLoop
import Host

/// The eventfds that the driver's notifications arrive at, one per queue. KVM knows them, so they outlive each device.
final class Doorbells {
    private var bells: [Doorbell] = []

    /// The most queues one device can have.
    static let maximumCount = 64

    private final class Doorbell {
        let event: EventFD
        /// What a read of the eventfd answers.
        let count = IOBuffer(capacity: 8)

        init() throws(Errno) {
            event = try EventFD()
        }
    }

    /// - Throws: `EINVAL` for too many, or why an eventfd cannot be made.
    init(_ count: Int) throws(Errno) {
        try grow(to: count)
    }

    /// Makes sure that there are `count` of them.
    ///
    /// - Throws: `EINVAL` for too many, or why an eventfd cannot be made.
    func grow(to count: Int) throws(Errno) {
        guard count <= Self.maximumCount else { throw .invalidArgument }
        while bells.count < count { bells.append(try Doorbell()) }
    }

    /// The eventfd of each queue.
    var descriptors: [Int32] { bells.map { $0.event.rawValue } }

    /// The eventfd of one queue; nil if there is none.
    func descriptor(_ index: Int) -> Int32? {
        bells.indices.contains(index) ? bells[index].event.rawValue : nil
    }

    /// Waits for a queue's next notification; false if there is no such queue.
    func listen(_ index: Int, on reactor: Reactor, for client: RingClient) -> Bool {
        guard bells.indices.contains(index) else { return false }
        let bell = bells[index]
        let file = IOFile(descriptor: bell.event.rawValue)
        return reactor.submit(
            .read(file, bell.count.all, at: Operation.currentPosition), for: client, tag: UInt32(index))
    }
}
