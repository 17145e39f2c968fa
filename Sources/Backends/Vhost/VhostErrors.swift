package import EventLoop
package import Host

/// Listens for what the kernel's vhost finds wrong with a driver's queues: it signals an eventfd then.
package final class VhostErrors: RingClient {
    private let event: EventFD
    private let count = IOBuffer(capacity: 8)
    private var reactor: Reactor?
    private var onError: (String) -> Void = { _ in }
    private var isListening = false

    package init(_ event: consuming EventFD) {
        self.event = event
    }

    /// The eventfd for the kernel to signal.
    package var descriptor: Int32 { event.rawValue }

    /// Tells of errors from now on, or that they cannot be heard of; then this is to be called again.
    ///
    /// - Parameter onError: called with what is wrong.
    package func listen(_ reactor: Reactor, onError: @escaping (String) -> Void) {
        self.reactor = reactor
        self.onError = onError
        listen()
    }

    private func listen() {
        guard !isListening, let reactor else { return }
        let file = IOFile(descriptor: descriptor)
        isListening = reactor.submit(.read(file, count.all, at: Operation.currentPosition), for: self)
    }

    override package func operationCompleted(tag: UInt32, result: Int32) {
        isListening = false
        guard !isRetiring else { return }
        if let error = Errno(ofWait: result) {
            onError("cannot hear of the errors of the kernel's vhost: \(error)")
        } else {
            listen()
            if result > 0 { onError("the kernel's vhost found a broken queue") }
        }
    }
}
