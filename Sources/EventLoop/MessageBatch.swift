/// Messages that a reactor has taken from its handle and runs in their order, some in each turn.
struct MessageBatch {
    private var messages: [ReactorHandle.Message] = []
    private var next = 0

    /// Whether all have run.
    var isEmpty: Bool { next == messages.count }

    /// Takes what has been sent, unless there is something left of the last time.
    mutating func refill(from handle: ReactorHandle) {
        if isEmpty { messages = handle.takeMessages() }
    }

    /// Takes the oldest.
    mutating func pop() -> ReactorHandle.Message? {
        guard next < messages.count else { return nil }
        let message = messages[next]
        next += 1
        if isEmpty {
            messages = []
            next = 0
        }
        return message
    }
}
