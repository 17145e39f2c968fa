import EventLoop
import Host

/// Reads what comes from the host for a guest, and no more than the guest takes.
final class CharacterReader: RingClient {
    /// How the file is read.
    enum Method {
        /// A stream socket.
        case receive
        /// A terminal, pipe or anything else: read only once it is readable, since a terminal's read occupies a
        /// worker of the kernel for as long as nobody types.
        case read
    }

    private enum Tag {
        static let read: UInt32 = 0
        static let ready: UInt32 = 1
        static let ended: UInt32 = 2
    }

    private let reactor: Reactor
    private let file: FileDescriptor
    private let method: Method
    private weak var owner: Chardev?
    private let buffer = IOBuffer(capacity: 4096)
    /// Read, but not taken by the front end yet.
    private var held: HostSlice
    private var isReading = false
    private var isWatching = false
    /// Everything that the other end ever sent has been read.
    private var hasEnded = false

    init(_ reactor: Reactor, _ file: consuming FileDescriptor, _ method: Method, owner: Chardev) {
        self.reactor = reactor
        self.file = file
        self.method = method
        self.owner = owner
        held = buffer.all.prefix(0)
    }

    /// Offers the front end what is held, and reads on if it takes all.
    func resume() {
        guard !isReading, !isRetiring else { return }
        if held.count > 0 {
            held = held.dropFirst(owner?.deliver(held) ?? 0)
            // Taking it may have ended this reader.
            if isRetiring { return }
        }
        if held.count > 0 {
            watchForEnd()
        } else if !hasEnded {
            arm()
        }
    }

    private func arm() {
        let target = IOFile(descriptor: file.rawValue)
        switch method {
        case .receive: isReading = reactor.submit(.receive(target, buffer.all), for: self, tag: Tag.read)
        case .read: isReading = reactor.submit(.poll(target, PollEvents.readable), for: self, tag: Tag.ready)
        }
    }

    /// Learns of the end of what a socket's client sends, also while nothing is read from it.
    private func watchForEnd() {
        guard method == .receive, !isWatching else { return }
        isWatching = reactor.submit(
            .poll(IOFile(descriptor: file.rawValue), PollEvents.ended), for: self, tag: Tag.ended)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        if tag == Tag.ended { isWatching = false } else { isReading = false }
        guard !isRetiring else { return }
        switch tag {
        case Tag.ready where result < 0:
            takeRead(result)
        case Tag.ready:
            let read = Operation.read(
                IOFile(descriptor: file.rawValue), buffer.all, at: Operation.currentPosition)
            isReading = reactor.submit(read, for: self, tag: Tag.read)
        case Tag.ended:
            // A client of whose end nothing would be heard is as good as gone; else it stays as long as something it
            // sent is unread.
            guard result > 0 else {
                owner?.readerFailed(self, Errno(rawValue: 0 &- result))
                return
            }
            let isGone = hasEnded && Int16(truncatingIfNeeded: result) & PollEvents.gone != 0
            owner?.readerEnded(self, isGone: isGone)
        default:
            takeRead(result)
        }
    }

    private func takeRead(_ result: Int32) {
        switch result {
        case 1...:
            held = buffer.all.prefix(Int(result))
            resume()
        case -Errno.again.rawValue, -Errno.interrupted.rawValue:
            arm()
        case 0:
            hasEnded = true
            // Whether a client has ended only its own direction or is gone, a poll tells.
            if method == .receive { watchForEnd() } else { owner?.readerEnded(self, isGone: false) }
        default:
            hasEnded = true
            owner?.readerFailed(self, Errno(rawValue: 0 &- result))
        }
    }
}
