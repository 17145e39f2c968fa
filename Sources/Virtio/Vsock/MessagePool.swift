import EventLoop

/// Messages for operations on guest memory: a device with none in flight does not touch guest memory.
final class MessagePool {
    /// How many messages there are, and in how many pieces each may be.
    static let capacity = 32
    static let segments = 64

    /// The pieces of each message.
    let vectors = MessageVectors(count: MessagePool.capacity, segments: MessagePool.segments)
    private var free = SlotQueue(allOf: MessagePool.capacity)
    private var taken = 0

    /// How many messages are in flight.
    var inFlight: Int { taken }

    /// Takes a message; nil while all are in flight.
    func take() -> Int? {
        guard let message = free.takeFirst() else { return nil }
        taken += 1
        return message
    }

    /// Gives back a message whose operation has completed.
    func release(_ message: Int) {
        free.append(message)
        taken -= 1
    }
}
