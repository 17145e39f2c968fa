package import Backends
import EventLoop
import Host

/// Sockets between programs of the guest and of the host (virtio 1.2 section 5.10), served here over Unix sockets, as
/// Firecracker and Cloud Hypervisor do it: a program of the host connects to the device's socket and writes
/// `CONNECT port`; a program of the guest that connects to the host reaches who listens at the socket's path with
/// `_port` after it. The device is never seen outside this process, so that several guests may have the same CID.
///
/// Data goes from and to the guest's memory directly, many packets in one operation. A direction stops when its receiver
/// has no room: the guest by its credit, the host by its socket. Each operation ends at once, but for those that only
/// wait until a socket is ready; so a reset or pause never waits for a program of the host.
///
/// What begins operations on guest memory runs in `process` alone, which a paused device does not reach.
package final class UnixVsockDevice: VirtioDevice {
    /// How much the device does at once.
    package struct Limits: Sendable {
        /// The most connections at a time, up to 4096.
        package var connections = 1024
        /// The most packets that one connection puts into the guest's buffers by one operation.
        package var packetsPerRead = UnixVsockDevice.segments

        package init() {}
    }

    enum Queues {
        static let receive = 0
        static let transmit = 1
        static let event = 2
    }

    static let queueSize: UInt16 = 256
    /// Messages in flight to and from guest memory, and in how many pieces each may be.
    private static let messages = 32
    private static let segments = 64
    /// What a program writes before its connection is no longer than this.
    static let lineCapacity = 32

    /// The buffer that a part of a read goes to.
    struct Read: BitwiseCopyable {
        var buffer: Int32 = 0
        var bytes: Int32 = 0
    }

    let sockets: VsockSockets
    let guestCID: UInt64
    let limits: Limits
    let connections: FixedTable<VsockConnection>
    let directory: ConnectionDirectory
    let messages = MessageVectors(count: UnixVsockDevice.messages, segments: UnixVsockDevice.segments)
    let reads = FixedTable(repeating: Read(), count: UnixVsockDevice.messages * UnixVsockDevice.segments)
    /// The words before each connection.
    let lines: IOBuffer
    let header = IOBuffer(capacity: VsockHeader.size)

    var context: DeviceContext?
    var reactor: Reactor?
    /// Connections for which the guest is to get something, and those of which data is to be sent.
    var ready: SlotQueue
    var sendable: SlotQueue
    var resets = ResetQueue()
    var buffers = ReceiveBuffers()
    var packets = TransmitPackets()
    var isWaitingForPacket = false
    /// What `process` does already need not be asked for.
    private var isServing = false
    private var isTaking = false
    var nextPort = UnixVsockDevice.firstPort
    var logLimit = LogLimit()
    private var freeConnections: SlotQueue
    private var freeMessages = SlotQueue(allOf: UnixVsockDevice.messages)
    private var openConnections = 0
    private var messagesInFlight = 0
    private var owesTransportReset = false
    /// The memory of each connection's backlog, where there is one.
    private var backlogs: [IOBuffer?]

    /// The ports of connections that begin on the host: such as no program listens on.
    static let firstPort: UInt32 = 1 << 30
    static let lastPort: UInt32 = (1 << 31) - 1

    /// - Parameters:
    ///   - id: what the log calls the device.
    ///   - guestCID: the guest's address, 3 or more.
    ///   - sockets: the host's side, used by this device alone.
    package init(id: String, guestCID: UInt32, sockets: VsockSockets, limits: Limits = Limits()) {
        var limits = limits
        limits.connections = max(1, min(limits.connections, 4096))
        limits.packetsPerRead = max(1, min(limits.packetsPerRead, Self.segments))
        self.sockets = sockets
        self.guestCID = UInt64(guestCID)
        self.limits = limits
        let count = limits.connections
        connections = FixedTable(repeating: VsockConnection(), count: count)
        directory = ConnectionDirectory(capacity: count)
        lines = IOBuffer(capacity: count * Self.lineCapacity)
        ready = SlotQueue(capacity: count)
        sendable = SlotQueue(capacity: count)
        freeConnections = SlotQueue(allOf: count)
        backlogs = Array(repeating: nil, count: count)
        var config = ConfigSpace(size: 8)
        config.set(UInt64(guestCID), at: 0)
        super.init(
            id: id, type: .socket, features: [.splitRing, .vsockStream],
            queueSizes: [UInt16](repeating: Self.queueSize, count: 3), config: config)
    }

    deinit {
        for slot in 0..<connections.count where connections[slot].socket >= 0 { closeSocket(slot) }
    }

    /// How many connections there are, in whatever state.
    package var connectionCount: Int { openConnections }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        reactor = context.reactor
        acceptNext()
    }

    override package func process(_ queue: Virtqueue) {
        switch queue.index {
        case Queues.receive: serve(queue)
        case Queues.transmit:
            isTaking = true
            takePackets(queue)
            // The guest waits for most answers, and has them sooner than by another turn.
            if !ready.isEmpty || !resets.isEmpty, let queue = context?.queue(Queues.receive) { serve(queue) }
            isTaking = false
        default: sendEvents(queue)
        }
    }

    private func serve(_ queue: Virtqueue) {
        isServing = true
        serveGuest(queue)
        isServing = false
    }

    override package var isIdle: Bool { messagesInFlight == 0 }

    override package func reset() {
        // The driver's queues are not touched any more.
        context = nil
        closeAll()
        buffers.forget()
        resets.removeAll()
        isWaitingForPacket = false
        owesTransportReset = false
    }

    override package func retired() {
        for slot in 0..<connections.count where connections[slot].phase != .unused { release(slot) }
        sockets.close()
    }

    private func closeAll() {
        for slot in 0..<connections.count where connections[slot].phase != .unused { close(slot) }
    }

    // MARK: Events

    /// Ends all connections and tells the guest so, who is another now: restored from a snapshot, say (virtio 1.2 section
    /// 5.10.6.7).
    package func resetTransport() {
        closeAll()
        owesTransportReset = true
        if let queue = context?.queue(Queues.event) { context?.resume(queue) }
    }

    private func sendEvents(_ queue: Virtqueue) {
        while owesTransportReset, let chain = queue.next() {
            // `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`
            let isWritten = chain.writable.put(UInt32(0))
            if isWritten { owesTransportReset = false } else { complain("a buffer for events is too small") }
            queue.complete(chain.head, written: isWritten ? 4 : 0)
        }
    }

    // MARK: Slots

    /// Takes a slot for a new connection; nil, and a line in the log, if there are too many.
    func open() -> Int? {
        if freeConnections.isEmpty { evict() }
        guard let slot = freeConnections.takeFirst() else {
            complain("all \(limits.connections) connections are in use: one more was refused")
            return nil
        }
        openConnections += 1
        // Generous to a few, so that together they stay modest.
        connections[slot].window = openConnections <= 64 ? 256 << 10 : 64 << 10
        return slot
    }

    /// Frees a slot of which only the guest's confirmation is missing.
    private func evict() {
        for slot in 0..<connections.count where connections[slot].phase == .ending && connections[slot].socket < 0 {
            reset(slot)
            return
        }
    }

    /// Frees a slot that no operation uses.
    func release(_ slot: Int) {
        closeSocket(slot)
        backlogs[slot] = nil
        connections[slot] = VsockConnection()
        freeConnections.append(slot)
        openConnections -= 1
    }

    func closeSocket(_ slot: Int) {
        guard connections[slot].socket >= 0 else { return }
        _ = FileDescriptor(owning: connections[slot].socket)
        connections[slot].socket = -1
    }

    /// Gives a connection's backlog its memory, as much as the guest was promised.
    func prepareBacklog(_ slot: Int) {
        guard !connections[slot].backlog.isReady else { return }
        let memory = IOBuffer(capacity: Int(connections[slot].window))
        backlogs[slot] = memory
        connections[slot].backlog.use(memory.all)
    }

    // MARK: Operations

    typealias Kind = VsockConnection.InFlight

    /// Submits an operation of a connection, which has none of this kind in flight.
    func submit(_ operation: Operation, _ slot: Int, _ kind: Kind) {
        guard let reactor, reactor.submit(operation, for: self, tag: Self.tag(slot, kind)) else { return }
        connections[slot].inFlight.insert(kind)
    }

    /// Cancels what waits, and might never end by itself.
    func cancelWaiting(_ slot: Int) {
        for kind in [Kind.watch, .writable, .pause] where connections[slot].inFlight.contains(kind) {
            reactor?.cancel(tag: Self.tag(slot, kind), of: self)
        }
    }

    func file(_ slot: Int) -> IOFile { IOFile(descriptor: connections[slot].socket) }

    private static func tag(_ slot: Int, _ kind: Kind) -> UInt32 {
        UInt32(truncatingIfNeeded: slot) << 8 | UInt32(kind.rawValue)
    }

    override package func ioEvent(tag: UInt32, result: Int32) {
        watched(Int(tag >> 8), result)
    }

    override package func ioCompleted(tag: UInt32, result: Int32) {
        let slot = Int(tag >> 8)
        let kind = Kind(rawValue: UInt8(truncatingIfNeeded: tag))
        connections[slot].inFlight.remove(kind)
        switch kind {
        case .watch: watchEnded(slot, result)
        case .writable: connections[slot].isBlocked = false
        case .receive: received(slot, result)
        case .send: sent(slot, result)
        case .flush: flushed(slot, result)
        case .line: lineCompleted(slot, result)
        case .pause: dialAgain(slot)
        default: break
        }
        settle(slot)
    }

    /// Takes a message for an operation on guest memory; nil while all are in flight.
    func takeMessage() -> Int? {
        guard let message = freeMessages.takeFirst() else { return nil }
        messagesInFlight += 1
        return message
    }

    func releaseMessage(_ message: Int) {
        freeMessages.append(message)
        messagesInFlight -= 1
        if !ready.isEmpty { wakeReceive() }
        if !sendable.isEmpty { wakeTransmit() }
    }

    // MARK: Words

    /// Has the guest's buffers filled in this turn, or the next.
    func wakeReceive() {
        if !isServing, !isTaking, let context, let queue = context.queue(Queues.receive) { context.resume(queue) }
    }

    /// Has packets taken and sent in this turn, or the next.
    func wakeTransmit() {
        if !isTaking, let context, let queue = context.queue(Queues.transmit) { context.resume(queue) }
    }

    func complain(_ text: String) {
        logLimit.write(.warn, id, text)
    }
}

extension Features {
    /// `VIRTIO_VSOCK_F_STREAM`
    static let vsockStream = Features(bit: 0)
}
