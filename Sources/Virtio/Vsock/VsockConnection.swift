import Host

/// The state machine of one connection between a program in the guest and one on the host.
///
/// It does no I/O. Its owner reports what happened by the mutating methods, then calls `settle()`, which says what to do
/// next. Nothing else changes its state.
struct VsockConnection: BitwiseCopyable {
    /// The stage of a connection.
    enum Phase: UInt8 {
        /// The slot is free.
        case unused
        /// A program on the host has connected, and has not named the guest's port yet.
        case greeting
        /// A request is on its way to the guest, or the guest's answer to it.
        case requesting
        /// The guest wants a connection; the listener on the host must accept others first.
        case dialing
        case connected
        /// The guest has left; its data still goes to the host.
        case draining
        /// The host has left; the guest was told, and has not confirmed it yet.
        case ending
        /// Both sides have left; operations are in flight.
        case closing
    }

    /// Packets without data that are due to the guest.
    struct Replies: OptionSet {
        let rawValue: UInt8

        static let request = Replies(rawValue: 1)
        static let response = Replies(rawValue: 2)
        static let creditUpdate = Replies(rawValue: 4)
        static let creditRequest = Replies(rawValue: 8)
        static let shutdown = Replies(rawValue: 16)
    }

    private(set) var phase = Phase.unused
    private(set) var pendingReplies: Replies = []
    private(set) var inFlight: InFlight = []
    /// The socket of the host's program; -1 if there is none.
    private(set) var socket: Int32 = -1
    private(set) var ports = VsockPorts(guest: 0, host: 0)
    private(set) var credit = VsockCredit(window: 0)

    /// The socket may have data; it will not have more than it has now.
    private var isReadable = false
    private var isLast = false
    /// The socket takes no data for now.
    private(set) var isBlocked = false
    /// What the host's program has shut down, and what of it the guest was told.
    private var hostShutdown: VsockShutdown = []
    private var announcedShutdown: VsockShutdown = []
    /// What the guest has shut down, and what of it the host's program was told.
    private var guestShutdown: VsockShutdown = []
    private var forwardedShutdown: VsockShutdown = []

    // MARK: Beginnings

    /// A free slot.
    init() {}

    /// A program on the host has connected.
    init(fromHost socket: Int32, window: UInt32) {
        phase = .greeting
        self.socket = socket
        credit = VsockCredit(window: window)
    }

    /// The guest has requested a connection.
    init(fromGuest ports: VsockPorts, _ request: VsockHeader, window: UInt32) {
        phase = .dialing
        self.ports = ports
        credit = VsockCredit(window: window)
        credit.update(request)
    }

    /// The host's program has named the guest's port.
    mutating func request(_ ports: VsockPorts) {
        self.ports = ports
        phase = .requesting
        pendingReplies = .request
    }

    /// A listener on the host was reached by `socket`.
    mutating func reach(_ socket: Int32) {
        self.socket = socket
        phase = .connected
        pendingReplies = .response
    }

    // MARK: Packets of the guest

    /// Takes a packet for this connection with `count` bytes after its header.
    mutating func take(_ packet: VsockHeader, dataCount count: Int) -> Outcome {
        credit.update(packet)
        switch packet.operation {
        case .data: return takeData(packet.length, of: count)
        case .response where phase == .requesting && !pendingReplies.contains(.request):
            phase = .connected
            isReadable = true
            return .accepted
        case .request where phase == .ending: return .restart
        case .reset: return .left(wantsReset: false)
        case .shutdown where phase == .connected || phase == .ending:
            guestShutdown.formUnion(VsockShutdown(rawValue: packet.flags).intersection(.both))
            return guestShutdown == .both ? .left(wantsReset: true) : .noted
        case .creditRequest where phase == .connected:
            pendingReplies.insert(.creditUpdate)
            return .noted
        case .creditUpdate: return .noted
        default: return .violation(.outOfOrder(packet.operation))
        }
    }

    private mutating func takeData(_ length: UInt32, of count: Int) -> Outcome {
        // The host has left, and the guest is being told.
        if phase == .ending { return .ignored }
        guard phase == .connected, !pendingReplies.contains(.response) else { return .violation(.dataTooEarly) }
        guard !guestShutdown.contains(.sending) else { return .violation(.dataAfterShutdown) }
        guard Int(length) <= count else { return .violation(.length(length, of: count)) }
        guard length <= credit.allowance else { return .violation(.credit(length, of: credit.allowance)) }
        guard length > 0 else { return .ignored }
        credit.receive(length)
        guard hostShutdown.contains(.receiving) else { return .data }
        forward(Int(length))
        return .noted
    }

    // MARK: Events of the socket

    /// The socket has got data, or its other end has shut down or closed.
    ///
    /// - Parameters:
    ///   - isLast: the other end sends no more than what can be read already.
    ///   - isGone: the other end takes no more either.
    mutating func notice(isLast: Bool, isGone: Bool) -> SocketOutcome {
        isReadable = true
        if isLast || isGone { self.isLast = true }
        switch phase {
        case .greeting: return .readLine
        case .requesting: return isGone ? .reset : .none
        case .connected, .draining:
            guard isGone else { return .none }
            // What the program has sent is still there, for a guest that takes it.
            hostShutdown.formUnion(guestShutdown.contains(.receiving) ? .both : .receiving)
            return .discard
        case .unused, .dialing, .ending, .closing: return .none
        }
    }

    /// The socket can no longer be watched.
    mutating func loseWatch() -> SocketOutcome {
        switch phase {
        case .greeting: return .close
        case .requesting: return .reset
        default:
            loseHost()
            return .discard
        }
    }

    /// The host's program has left, and what it has sent is lost. The owner drops the guest's data.
    mutating func loseHost() {
        hostShutdown = .both
    }

    /// Whether the socket is to be watched.
    var isWatched: Bool {
        switch phase {
        case .greeting, .requesting, .connected, .draining: true
        case .unused, .dialing, .ending, .closing: false
        }
    }

    // MARK: Operations

    /// An operation was submitted.
    mutating func start(_ kind: InFlight) {
        inFlight.insert(kind)
        if kind == .receive { isReadable = false }
    }

    /// An operation has completed.
    mutating func complete(_ kind: InFlight) {
        inFlight.remove(kind)
        if kind == .writable { isBlocked = false }
    }

    /// A read into the guest's buffers has completed, for which there was `room` [bytes].
    ///
    /// - Returns: whether the host's program is lost.
    mutating func completeRead(_ result: Int32, room: Int) -> Bool {
        switch result {
        case 1...:
            // A socket that filled all may have more; one that has ended tells of no more data.
            if Int(result) == room || isLast { isReadable = true }
        case 0: hostShutdown.insert(.sending)
        case -Errno.again.rawValue: break
        case -Errno.interrupted.rawValue: isReadable = true
        default:
            loseHost()
            return true
        }
        return false
    }

    /// A send of `length` bytes of the guest's data has completed.
    mutating func completeSend(_ result: Int32, of length: Int) -> SendOutcome {
        forward(max(0, Int(result)))
        if result < 0, result != -Errno.again.rawValue, result != -Errno.interrupted.rawValue {
            hostShutdown.insert(.receiving)
            return .discard
        }
        if hostShutdown.contains(.receiving) || phase == .closing { return .discard }
        guard Int(result) < length, result != -Errno.interrupted.rawValue else { return .none }
        isBlocked = true
        return .blocked
    }

    /// Data of the guest has left, to the host or to nowhere.
    mutating func forward(_ count: Int) {
        let isDue = credit.forward(count)
        if isDue, phase == .connected { pendingReplies.insert(.creditUpdate) }
    }

    /// Whether packets of the guest may be sent now.
    var canSend: Bool {
        (phase == .connected || phase == .draining) && !isBlocked && hasNoSend
    }

    private var hasNoSend: Bool { inFlight.isDisjoint(with: [.send, .flush, .line]) }

    // MARK: Packets for the guest

    /// Whether the guest takes data that is read now.
    var takesData: Bool { phase == .connected && !guestShutdown.contains(.receiving) }

    /// Whether data is to be read for the guest, and it has room for it.
    var canRead: Bool { hasDataForGuest && credit.available > 0 }

    private var hasDataForGuest: Bool {
        takesData && isReadable && !inFlight.contains(.receive) && !hostShutdown.contains(.sending)
    }

    /// Takes the next packet without data that is due; nil if there is none.
    mutating func takeReply(guestCID: UInt64) -> VsockHeader? {
        let operation: VsockOperation
        if pendingReplies.remove(.request) != nil {
            operation = .request
        } else if pendingReplies.remove(.response) != nil {
            operation = .response
        } else if pendingReplies.remove(.shutdown) != nil {
            operation = .shutdown
            announcedShutdown = hostShutdown
        } else if pendingReplies.remove(.creditRequest) != nil {
            operation = .creditRequest
        } else if pendingReplies.remove(.creditUpdate) != nil {
            operation = .creditUpdate
        } else {
            return nil
        }
        return header(operation, length: 0, guestCID)
    }

    /// The header of a packet with `length` bytes for the guest, which counts them.
    mutating func takeData(length: Int, guestCID: UInt64) -> VsockHeader {
        credit.send(length)
        return header(.data, length: length, guestCID)
    }

    private mutating func header(_ operation: VsockOperation, length: Int, _ guestCID: UInt64) -> VsockHeader {
        // Each packet tells the guest of its credit.
        pendingReplies.remove(.creditUpdate)
        return VsockHeader(
            sourceCID: VsockCID.host, destinationCID: guestCID, sourcePort: ports.host, destinationPort: ports.guest,
            length: UInt32(truncatingIfNeeded: length), operation: operation,
            flags: operation == .shutdown ? announcedShutdown.rawValue : 0, bufferSize: credit.window,
            forwarded: credit.announce())
    }

    // MARK: Ends

    /// Whether the guest has been told of the connection, or has asked for it and been answered.
    var isKnownToGuest: Bool {
        switch phase {
        case .unused, .greeting, .dialing: false
        case .requesting, .connected: pendingReplies.isDisjoint(with: [.request, .response])
        case .draining, .ending, .closing: true
        }
    }

    /// The guest has left.
    ///
    /// - Returns: whether its data still goes to the host; if not, the owner closes the connection.
    mutating func loseGuest() -> Bool {
        guard phase == .connected, hasDataForHost else { return false }
        phase = .draining
        pendingReplies = []
        return true
    }

    /// Both sides have left. The owner drops the guest's data and cancels what waits.
    mutating func close() {
        phase = .closing
        pendingReplies = []
    }

    /// Gives away the socket; -1 if there is none.
    mutating func takeSocket() -> Int32 {
        defer { socket = -1 }
        return socket
    }

    // MARK: Next

    /// Whether data of the guest has not left yet.
    private var hasDataForHost: Bool { credit.unforwarded > 0 }

    /// Decides what to do next, after anything has happened.
    mutating func settle() -> Steps {
        var steps: Steps = []
        switch phase {
        case .unused, .greeting, .dialing: return []
        case .requesting: break
        case .connected:
            forwardShutdown(&steps)
            if hostShutdown != announcedShutdown {
                pendingReplies.insert(.shutdown)
            } else if announcedShutdown == .both {
                phase = .ending
                pendingReplies = []
                steps.insert(inFlight.isEmpty ? .closeSocket : .cancelWaiting)
                return steps
            }
            settleTraffic(&steps)
        case .draining:
            guard hasDataForHost else {
                close()
                return inFlight.isEmpty ? .release : .cancelWaiting
            }
            settleTraffic(&steps)
        case .ending: return inFlight.isEmpty ? .closeSocket : []
        case .closing: return inFlight.isEmpty ? .release : []
        }
        if !pendingReplies.isEmpty || canRead { steps.insert(.serveGuest) }
        return steps
    }

    /// Forwards to the program what the guest has shut down; the end of data only after all data.
    private mutating func forwardShutdown(_ steps: inout Steps) {
        var shutdown = guestShutdown.subtracting(forwardedShutdown)
        if hasDataForHost { shutdown.remove(.sending) }
        forwardedShutdown.formUnion(shutdown)
        if shutdown.contains(.receiving) { steps.insert(.shutDownReading) }
        if shutdown.contains(.sending) { steps.insert(.shutDownWriting) }
    }

    /// Sends on, and asks for credit, where that is possible and necessary.
    private mutating func settleTraffic(_ steps: inout Steps) {
        if hasDataForGuest, credit.ask() { pendingReplies.insert(.creditRequest) }
        guard hasDataForHost, hasNoSend else { return }
        if !isBlocked {
            steps.insert(.send)
        } else if !inFlight.contains(.writable) {
            steps.insert(.awaitWritable)
        }
    }
}
