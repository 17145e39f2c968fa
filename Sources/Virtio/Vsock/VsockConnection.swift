import Host

/// One connection between a program in the guest and one on the host: where it stands, what each side has room for, and
/// what is owed to the guest. It does no I/O.
struct VsockConnection: BitwiseCopyable {
    /// Where a connection stands.
    enum Phase: UInt8 {
        case unused
        /// A program on the host has connected, and not said yet to which port of the guest.
        case greeting
        /// The guest has been, or is to be, asked for a connection.
        case requesting
        /// The guest wants a connection; whoever listens on the host has to accept others first.
        case dialing
        case connected
        /// The guest is gone; what it has sent still goes to the host.
        case draining
        /// The host is gone and the guest knows; it has not confirmed it yet.
        case ending
        /// Nobody's any more, but operations are in flight.
        case closing
    }

    /// Packets without data that the guest is to get.
    struct Owed: OptionSet {
        let rawValue: UInt8

        static let request = Owed(rawValue: 1)
        static let response = Owed(rawValue: 2)
        static let creditUpdate = Owed(rawValue: 4)
        static let creditRequest = Owed(rawValue: 8)
        static let shutdown = Owed(rawValue: 16)
    }

    /// Operations that have not ended.
    struct InFlight: OptionSet {
        let rawValue: UInt8

        /// Looks out for data and for the other end's end, as long as the socket lives.
        static let watch = InFlight(rawValue: 1)
        /// Waits until the socket takes data again.
        static let writable = InFlight(rawValue: 2)
        /// Into the guest's buffers.
        static let receive = InFlight(rawValue: 4)
        /// From the guest's buffers.
        static let send = InFlight(rawValue: 8)
        /// From the backlog.
        static let flush = InFlight(rawValue: 16)
        /// The words before a connection.
        static let line = InFlight(rawValue: 32)
        /// Until the next attempt to reach a listener.
        static let pause = InFlight(rawValue: 64)
    }

    var phase = Phase.unused
    var owed: Owed = []
    var inFlight: InFlight = []
    /// The host's end; -1 if there is none.
    var socket: Int32 = -1
    var ports = VsockPorts(guest: 0, host: 0)

    // MARK: Towards the guest

    /// There may be something to read from the socket.
    var isReadable = false
    /// The other end sends no more than what can be read already.
    var isLast = false
    /// How many bytes the guest was sent, modulo 2^32; what it last said of its buffer.
    var sent: UInt32 = 0
    var guestBuffer: UInt32 = 0
    var guestForwarded: UInt32 = 0
    /// The guest was asked for credit since it last said anything.
    var hasAskedForCredit = false
    /// What the host's program has ended, and what of it the guest knows.
    var hostEnds: VsockEnds = []
    var toldEnds: VsockEnds = []

    // MARK: Towards the host

    /// How many bytes the device holds for a slow reader, which is what the guest may send beyond what was forwarded.
    var window: UInt32 = 0
    /// How many bytes came from the guest, how many went on to the host, and of how many the guest knows that they did.
    var received: UInt32 = 0
    var forwarded: UInt32 = 0
    var announced: UInt32 = 0
    /// What the guest has ended, and what of it the host's program knows.
    var guestEnds: VsockEnds = []
    var passedEnds: VsockEnds = []
    /// The socket takes nothing for now.
    var isBlocked = false
    /// Held where the guest has put it, and after that, copied. Only one of them has bytes.
    var packets = TransmitPackets.List()
    var backlog = VsockBacklog()

    // MARK: Before it

    /// How much of the line has been taken; whether more of it is being taken, and not only looked at.
    var lineLength: UInt8 = 0
    var isTakingLine = false
    /// How often a listener was tried.
    var attempts: UInt8 = 0

    // MARK: Operations

    /// The message of the receive or send in flight, its buffers and its bytes.
    var receiveMessage: Int32 = -1
    var receiveBuffers = 0
    var sendMessage: Int32 = -1
    var receiveLength = 0
    var sendLength = 0
    var flushLength = 0
}

extension VsockConnection {
    /// How many bytes the guest has room for. What it says may be anything.
    var credit: UInt32 {
        let unread = sent &- guestForwarded
        return unread < guestBuffer ? guestBuffer &- unread : 0
    }

    /// How many bytes the guest may send now.
    var allowance: UInt32 { window &- (received &- forwarded) }

    /// Whether data for the guest could be read, if it has room.
    var hasDataForGuest: Bool {
        phase == .connected && isReadable && !inFlight.contains(.receive) && !hostEnds.contains(.sending)
            && !guestEnds.contains(.receiving)
    }

    /// Whether data of the guest has not left yet.
    var hasDataForHost: Bool { !packets.isEmpty || backlog.count > 0 || !inFlight.isDisjoint(with: [.send, .flush]) }

    /// Takes note of what every packet of the guest says about its buffer.
    mutating func takeCredit(_ header: VsockHeader) {
        guestBuffer = header.bufferSize
        guestForwarded = header.forwarded
        hasAskedForCredit = false
    }

    /// Bytes of the guest have left, to the host or to nowhere.
    mutating func forward(_ count: Int) {
        forwarded &+= UInt32(truncatingIfNeeded: count)
        // Sooner than the guest runs out of it, and not with each packet.
        if phase == .connected, forwarded &- announced >= window / 4 { owed.insert(.creditUpdate) }
    }

    /// Takes the next packet that is owed; nil if there is none.
    mutating func takeOwed() -> VsockOperation? {
        if owed.contains(.request) {
            owed.remove(.request)
            return .request
        }
        if owed.contains(.response) {
            owed.remove(.response)
            return .response
        }
        if owed.contains(.shutdown) {
            owed.remove(.shutdown)
            toldEnds = hostEnds
            return .shutdown
        }
        if owed.contains(.creditRequest) {
            owed.remove(.creditRequest)
            return .creditRequest
        }
        if owed.contains(.creditUpdate) {
            owed.remove(.creditUpdate)
            return .creditUpdate
        }
        return nil
    }

    /// The header of a packet to the guest; the guest then knows what has been forwarded.
    mutating func header(_ operation: VsockOperation, length: Int = 0, guestCID: UInt64) -> VsockHeader {
        announced = forwarded
        owed.remove(.creditUpdate)
        return VsockHeader(
            sourceCID: VsockCID.host, destinationCID: guestCID, sourcePort: ports.host, destinationPort: ports.guest,
            length: UInt32(truncatingIfNeeded: length), operation: operation,
            flags: operation == .shutdown ? toldEnds.rawValue : 0, bufferSize: window, forwarded: forwarded)
    }
}
