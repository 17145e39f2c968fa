/// Runs operations that take longer than a turn of the reactor one at a time: pause, resume, and what touches slots.
final class SerialQueue {
    /// Calls its argument once when it is done, at once or in a later turn.
    typealias Operation = (_ done: @escaping () -> Void) -> Void

    private var waiting: [Operation] = []
    /// Whether an operation is under way.
    private(set) var isBusy = false

    /// Starts `operation` when those before it are done; at once if there is none.
    func add(_ operation: @escaping Operation) {
        waiting.append(operation)
        startNext()
    }

    private func startNext() {
        guard !isBusy, !waiting.isEmpty else { return }
        isBusy = true
        waiting.removeFirst()({ [weak self] in
            self?.isBusy = false
            self?.startNext()
        })
    }
}
