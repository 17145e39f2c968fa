import EventLoop
import Host

/// Waits for the signals that end a machine.
final class SignalWatch: IOTarget {
    private let descriptor: FileDescriptor
    private let reactor: Reactor
    private let record = IOBuffer(capacity: Signals.recordSize)
    private let onSignal: (Int32) -> Void

    /// - Parameter descriptor: from `Signals.takeOver`.
    init(_ descriptor: consuming FileDescriptor, reactor: Reactor, onSignal: @escaping (Int32) -> Void) {
        self.descriptor = descriptor
        self.reactor = reactor
        self.onSignal = onSignal
        super.init()
        listen()
    }

    private func listen() {
        reactor.submit(
            .read(IOFile(descriptor: descriptor.rawValue), record.all, at: Operation.currentPosition), for: self)
    }

    override func complete(tag: UInt32, result: Int32) {
        if result > 0, let number = record.all.load(at: 0, as: Int32.self) { onSignal(number) }
        if !isRetiring, result != -Errno.canceled.rawValue { listen() }
    }
}
