import EventLoop
import Host

/// Waits for the signals that end a machine, for as long as there is one: if they cannot be read, it tries again.
final class SignalWatch: RingClient {
    private enum Tag {
        static let read: UInt32 = 0
        static let pause: UInt32 = 1
    }

    /// How long to wait after a failure, in nanoseconds: it may last.
    static let pause: UInt64 = 20_000_000

    private let descriptor: FileDescriptor
    private let reactor: Reactor
    private let record = IOBuffer(capacity: Signals.recordSize)
    private let onSignal: (Int32) -> Void
    private var hasComplained = false

    /// - Parameter descriptor: from `Signals.takeOver`.
    init(_ descriptor: consuming FileDescriptor, reactor: Reactor, onSignal: @escaping (Int32) -> Void) {
        self.descriptor = descriptor
        self.reactor = reactor
        self.onSignal = onSignal
        super.init()
        listen()
    }

    private func listen() {
        let file = IOFile(descriptor: descriptor.rawValue)
        reactor.submit(.read(file, record.all, at: Operation.currentPosition), for: self, tag: Tag.read)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        guard !isRetiring else { return }
        if tag == Tag.read, result <= 0 {
            // Any signal of the process wakes the kernel's wait, one that stops a vCPU too; after many it gives up.
            if let error = result == 0 ? .ioError : Errno(ofWait: result) { complain(error) }
            reactor.submit(.timeout(at: Clock.monotonic &+ Self.pause), for: self, tag: Tag.pause)
        } else {
            if tag == Tag.read, let number = record.all.load(at: 0, as: Int32.self) { onSignal(number) }
            listen()
        }
    }

    /// Says once that signals may come late.
    private func complain(_ error: Errno) {
        guard !hasComplained else { return }
        hasComplained = true
        Log.warn("machine", "cannot read signals: \(error); trying again until it works")
    }
}
