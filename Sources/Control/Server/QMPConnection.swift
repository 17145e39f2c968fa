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
    private let turns: QMPTurns
    /// Set while `turns` holds this connection.
    var isWaitingForTurn = false

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
        _ socket: consuming FileDescriptor, session: QMPSession, reactor: Reactor, server: QMPServer, turns: QMPTurns
    ) {
        file = IOFile(descriptor: socket.rawValue)
        self.socket = consume socket
        self.session = session
        self.reactor = reactor
        self.server = server
        self.turns = turns
        message = ReceivedMessage(buffer: input)
    }

    /// Sends the greeting and begins to listen.
    func start() {
        session.delegate = self
        turns.add(self)
    }

    /// Runs no further command; ends when what is owed has been sent.
    func finish() {
        isFinishing = true
        turns.add(self)
    }

    func sessionNeedsService(_ session: QMPSession) {
        turns.add(self)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        if tag == Tag.receive { received(result) } else { wasSent(result) }
        turns.add(self)
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
        server?.noteActivity(self)
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

    /// Runs commands within `allowance`, and moves bytes both ways.
    func serve(_ allowance: inout QMPAllowance) {
        guard !isRetiring else { return }
        var hasMore = false
        if !isFinishing && !isBroken { hasMore = session.process(&allowance) }
        send()
        receive()
        if hasMore {
            turns.add(self)
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

    /// Sends what is owed, as far as the socket takes it at once, and nothing after it. A send of the ring's that has
    /// not completed has not happened: the kernel carries sends out in `io_uring_enter` alone.
    func sendWithoutRing() {
        guard !isBroken else { return }
        var bytes = output.map { $0.bytes(sent..<$0.capacity) } ?? []
        if session.hasOutput { bytes += session.takeOutput() }
        _ = socket?.writeNow(bytes)
        isBroken = true
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
