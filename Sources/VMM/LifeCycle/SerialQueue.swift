/// Carries out, one after another, what takes longer than a turn of the reactor and must not meet its like: pausing,
/// going on, and the exchange of devices.
final class SerialQueue {
    typealias Operation = (_ done: @escaping () -> Void) -> Void

    private var waiting: [Operation] = []
    /// Whether one is under way.
    private(set) var isBusy = false

    /// Starts `operation` when those before it are done; at once if there is none. It calls its argument when it is
    /// done itself.
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
