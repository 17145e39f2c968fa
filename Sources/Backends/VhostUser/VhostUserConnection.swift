import EventLoop
import Host

/// Hears what becomes of a connection.
protocol VhostUserConnectionOwner: AnyObject {
    /// Every step is done.
    func connectionIsDone(_ connection: VhostUserConnection)
    /// The connection is of no more use.
    func connectionEnded(_ connection: VhostUserConnection, _ error: VhostUserError)
}

/// One connection to a back end: sends requests one after the other, each when the one before has been answered.
///
/// It ends when the other side closes it, breaks the protocol, or leaves a request without its answer for too long.
final class VhostUserConnection: RingClient {
    /// A request, and what is to come of it.
    struct Step {
        enum Answer {
            /// None is to be waited for.
            case none
            /// Zero for success.
            case acknowledgement
            /// A value, which this takes.
            case value((VhostUserMessage.Reply) throws(VhostUserError) -> Void)
        }

        let message: VhostUserMessage
        let answer: Answer
    }

    private enum Tag {
        static let readable: UInt32 = 0
        static let received: UInt32 = 1
        static let sent: UInt32 = 2
        static let deadline: UInt32 = 3
    }

    private let reactor: Reactor
    private let patience: UInt64
    private let socket: FileDescriptor
    private weak var owner: (any VhostUserConnectionOwner)?
    private let input = IOBuffer(capacity: 256)
    private let incoming: ReceivedMessage
    private var outgoing: SentMessage?
    private var received: [UInt8] = []
    private var steps: [Step] = []
    /// The step under way, and whether its message is still being sent.
    private var current: Step?
    private var isSending = false
    private var deadline: UInt64 = 0
    /// Whether an operation is in flight that ends at a deadline, be it one that has been met.
    private var isTimed = false

    /// Takes over a connected socket that does not block.
    ///
    /// - Parameter patience: how long a row of steps may take, in nanoseconds.
    init(
        _ socket: consuming FileDescriptor, reactor: Reactor, patience: UInt64, owner: any VhostUserConnectionOwner
    ) {
        self.patience = patience
        self.socket = socket
        self.reactor = reactor
        self.owner = owner
        incoming = ReceivedMessage(buffer: input)
        super.init()
        waitForInput()
    }

    /// Adds steps after those that are to be done already.
    func append(_ steps: [Step]) {
        guard !isRetiring else { return }
        self.steps += steps
        if current == nil { next() }
    }

    /// Closes the connection; its owner hears no more of it.
    func close() {
        owner = nil
        reactor.retire(self)
    }

    // MARK: Steps

    private func next() {
        guard !steps.isEmpty else {
            current = nil
            reactor.cancel(tag: Tag.deadline, of: self)
            owner?.connectionIsDone(self)
            return
        }
        if current == nil {
            deadline = Clock.monotonic &+ patience
            waitForDeadline()
        }
        let step = steps.removeFirst()
        current = step
        isSending = true
        let asksForAcknowledgement = if case .acknowledgement = step.answer { true } else { false }
        do throws(Errno) {
            let message = try SentMessage(
                step.message.bytes(acknowledged: asksForAcknowledgement), descriptors: step.message.descriptors)
            outgoing = message
            reactor.submit(.send(IOFile(descriptor: socket.rawValue), message), for: self, tag: Tag.sent)
        } catch {
            end(.connection(error))
        }
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        if tag == Tag.received, result >= 0 { dropDescriptors() }
        guard !isRetiring else { return }
        switch tag {
        case Tag.readable: reactor.submit(.receive(IOFile(descriptor: socket.rawValue), incoming), for: self, tag: 1)
        case Tag.received: take(result)
        case Tag.sent: sent(result)
        default:
            isTimed = false
            if current != nil { waitForDeadline() }
        }
    }

    /// Ends the connection if the deadline has come, else sees to it that somebody looks again when it has: whatever a
    /// timer ends with, none is left to wait for ever.
    private func waitForDeadline() {
        guard Clock.monotonic < deadline else { return end(.silent) }
        if !isTimed { isTimed = reactor.submit(.timeout(at: deadline), for: self, tag: Tag.deadline) }
    }

    private func sent(_ result: Int32) {
        let count = outgoing?.count ?? 0
        outgoing = nil
        isSending = false
        guard result >= 0 else { return end(.connection(Errno(rawValue: -result))) }
        // The socket has room for many such messages, so that a part of one is a peer who takes none.
        guard Int(result) == count else { return end(.silent) }
        proceed()
    }

    // MARK: Replies

    private func waitForInput() {
        reactor.submit(.poll(IOFile(descriptor: socket.rawValue), PollEvents.readable), for: self, tag: Tag.readable)
    }

    /// No reply has descriptors: those that came nevertheless are closed.
    private func dropDescriptors() {
        for descriptor in incoming.takeDescriptors() { _ = FileDescriptor(owning: descriptor) }
    }

    private func take(_ result: Int32) {
        if result == 0 || result == -Errno.connectionReset.rawValue { return end(.closed) }
        if result > 0 {
            received += input.bytes(0..<Int(result))
        } else if result != -Errno.again.rawValue {
            return end(.connection(Errno(rawValue: -result)))
        }
        waitForInput()
        proceed()
    }

    /// Goes on with the step under way, if what it waits for has come.
    private func proceed() {
        guard !isSending else { return }
        guard let step = current else {
            if !received.isEmpty { end(.reply("came unasked")) }
            return
        }
        do throws(VhostUserError) {
            switch step.answer {
            case .none: break
            case .acknowledgement:
                guard let reply = try takeReply(to: step) else { return }
                guard reply.value == 0 else { throw .refused(step.message.request.rawValue) }
            case .value(let use):
                guard let reply = try takeReply(to: step) else { return }
                try use(reply)
            }
            next()
        } catch {
            end(error)
        }
    }

    private func takeReply(to step: Step) throws(VhostUserError) -> VhostUserMessage.Reply? {
        try VhostUserMessage.takeReply(to: step.message.request, from: &received)
    }

    private func end(_ error: VhostUserError) {
        guard !isRetiring else { return }
        let owner = owner
        close()
        owner?.connectionEnded(self, error)
    }
}
