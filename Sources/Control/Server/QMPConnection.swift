import EventLoop
import Host

/// Carries one client's session over its socket.
///
/// At most one receive and one send are in flight. Input is only asked for while the session has room for it, output
/// is only taken from the session when the last piece has gone, so what a client costs is bounded whatever it does.
final class QMPConnection: RingClient, QMPSessionDelegate {
    private enum Tag {
        static let receive: UInt32 = 0
        static let send: UInt32 = 1
    }

    let session: QMPSession
    private var socket: FileDescriptor?
    private let file: IOFile
    private let reactor: Reactor
    private weak var server: QMPServer?
    private let commandsPerTurn: Int

    private let input = IOBuffer(capacity: 4096)
    private let message: ReceivedMessage
    private var isReceiving = false
    /// What is being sent, as long as it is.
    private var output: IOBuffer?
    /// How much of `output` has gone.
    private var sent = 0
    private var isSending = false
    /// The client sends no more; it may still read.
    private var inputHasEnded = false
    /// The connection has failed in one direction or both.
    private var isBroken = false
    /// The service ends.
    private var isFinishing = false

    init(
        _ socket: consuming FileDescriptor, session: QMPSession, reactor: Reactor, server: QMPServer,
        commandsPerTurn: Int
    ) {
        file = IOFile(descriptor: socket.rawValue)
        self.socket = consume socket
        self.session = session
        self.reactor = reactor
        self.server = server
        self.commandsPerTurn = commandsPerTurn
        message = ReceivedMessage(buffer: input)
    }

    /// Sends the greeting and begins to listen.
    func start() {
        session.delegate = self
        reactor.schedule(self)
    }

    /// Runs no further command; ends when what is owed has been sent.
    func finish() {
        isFinishing = true
        reactor.schedule(self)
    }

    func sessionNeedsService(_ session: QMPSession) {
        reactor.schedule(self)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        if tag == Tag.receive { received(result) } else { wasSent(result) }
        reactor.schedule(self)
    }

    private func received(_ result: Int32) {
        isReceiving = false
        guard result > 0 else {
            if result < 0 { isBroken = true }
            inputHasEnded = true
            return
        }
        for descriptor in message.takeDescriptors() { session.receive(FileDescriptor(owning: descriptor)) }
        session.receive(input.bytes(0..<Int(result)).span)
    }

    private func wasSent(_ result: Int32) {
        isSending = false
        guard result > 0, let output else {
            isBroken = true
            return
        }
        sent += Int(result)
        if sent >= output.capacity { self.output = nil }
    }

    override func endOfTurn() {
        guard !isRetiring else { return }
        var hasMore = false
        if !isFinishing && !isBroken { hasMore = session.process(atMost: commandsPerTurn) }
        send()
        receive()
        if hasMore {
            reactor.schedule(self)
        } else if isBroken || hasNothingLeft {
            reactor.retire(self)
        }
    }

    /// Whether nothing comes in any more and all that is owed has gone out.
    private var hasNothingLeft: Bool {
        output == nil && (isFinishing || inputHasEnded && !session.isBusy)
    }

    private func send() {
        guard !isSending, !isBroken else { return }
        if output == nil, session.hasOutput {
            let bytes = session.takeOutput()
            let buffer = IOBuffer(capacity: bytes.count)
            buffer.all.copy(from: bytes)
            output = buffer
            sent = 0
        }
        guard let output else { return }
        isSending = reactor.submit(.send(file, output.all.dropFirst(sent)), for: self, tag: Tag.send)
    }

    private func receive() {
        guard !isReceiving, !inputHasEnded, !isFinishing, session.inputRoom >= input.capacity else { return }
        isReceiving = reactor.submit(.receive(file, message), for: self, tag: Tag.receive)
    }

    override func retired() {
        guard socket != nil else { return }
        socket = nil
        server?.remove(self)
    }
}
