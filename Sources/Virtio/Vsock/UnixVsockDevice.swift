package import Backends
import EventLoop
import Host

/// A socket device (virtio 1.2 section 5.10) over Unix sockets, as Firecracker and Cloud Hypervisor have it.
///
/// A program of the host connects to the device's socket and writes `CONNECT port`. A program of the guest that connects
/// to the host reaches the listener at the socket's path with `_port` after it. Several guests may have the same CID,
/// which has no meaning outside this process.
///
/// Data goes from and to the guest's memory directly, many packets in one operation. A direction stops when its receiver
/// has no room: the guest by its credit, the host by its socket. Each operation ends at once, but for those that only
/// wait until a socket is ready; so a reset or pause never waits for a program of the host.
///
/// The device submits the operations, and does what its connections call for. Operations on guest memory begin in
/// `process` alone, which a paused device does not reach.
package final class UnixVsockDevice: VirtioDevice {
    private enum Queues {
        static let receive = 0
        static let transmit = 1
        static let event = 2
    }

    private static let queueSize: UInt16 = 256

    private let guestCID: UInt64
    private let connections: ConnectionTable
    private let messages = MessagePool()
    private let rx: RxPath
    private let tx: TxPath
    private let connect: Connect
    private var context: DeviceContext?
    private var reactor: Reactor?
    private var transportReset = TransportReset()
    /// `process` fills the guest's buffers, or takes its packets: another turn for that is not needed.
    private var isServing = false
    private var isTaking = false
    private var logLimit = LogLimit()

    /// - Parameters:
    ///   - id: the device's name in the log.
    ///   - guestCID: the guest's address, 3 or more.
    ///   - sockets: the host's side, used by this device alone.
    package init(id: String, guestCID: UInt32, sockets: VsockSockets, limits: Limits = Limits()) {
        let (limits, guestCID) = (limits.clamped, UInt64(guestCID))
        self.guestCID = guestCID
        connections = ConnectionTable(capacity: limits.connections)
        rx = RxPath(connections, messages, guestCID: guestCID, packetsPerRead: limits.packetsPerRead)
        tx = TxPath(connections, messages, guestCID: guestCID)
        connect = Connect(connections, sockets)
        var config = ConfigSpace(size: 8)
        config.set(guestCID, at: 0)
        super.init(
            id: id, type: .socket, features: [.splitRing, .vsockStream],
            queueSizes: [UInt16](repeating: Self.queueSize, count: 3), config: config)
    }

    /// How many connections there are, in whatever phase.
    package var connectionCount: Int { connections.count }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        reactor = context.reactor
        acceptNext()
    }

    override package func process(_ queue: Virtqueue) {
        switch queue.index {
        case Queues.event: serveEvents(queue)
        case _ where transportReset.precedesTraffic && context?.queue(Queues.event) != nil: break
        case Queues.receive: serveGuest(queue)
        default: takePackets(queue)
        }
    }

    override package var isIdle: Bool { messages.inFlight == 0 }

    override package func reset() {
        // The driver's queues are not touched any more.
        context = nil
        forEachConnection(close)
        rx.reset()
        transportReset = TransportReset()
    }

    override package func retired() {
        forEachConnection(release)
        connect.close()
    }

    private func forEachConnection(_ body: (Int) -> Void) {
        for slot in 0..<connections.capacity where connections[slot].phase != .unused { body(slot) }
    }

    // MARK: State

    override package var deviceState: DeviceState {
        .unixVsock(State(guestCID: guestCID, nextPort: connections.nextPort))
    }

    override package func restore(_ state: DeviceState) throws(StateError) {
        guard case .unixVsock(let state) = state else {
            throw StateError("\(id): the saved state belongs to a device of another type")
        }
        try state.check(for: id, deviceCID: guestCID)
        connections.nextPort = state.nextPort
        transportReset = .due
    }

    private func serveEvents(_ queue: Virtqueue) {
        let precededTraffic = transportReset.precedesTraffic
        // A copy, so that the data path's looks at it need no check for exclusive access.
        var copy = transportReset
        let outcome = copy.serve(queue)
        transportReset = copy
        if outcome.contains(.smallBuffer) { complain("a buffer for events is too small") }
        if outcome.contains(.sent) { forEachConnection { if connections[$0].isKnownToGuest { close($0) } } }
        if outcome.contains(.answered) { wakeReceive() }
        if precededTraffic {
            wakeReceive()
            wakeTransmit()
        }
    }

    // MARK: Packets for the guest

    private func serveGuest(_ queue: Virtqueue) {
        guard !transportReset.holdsReceive else { return }
        isServing = true
        while let served = rx.serveNext(queue) {
            if let read = served.read { submit(read, served.slot, .receive) }
            settle(served.slot)
            if served.isLast { break }
        }
        isServing = false
        if rx.takeComplaint() { complain("the guest offers buffers without room for a packet") }
    }

    /// Refuses a packet of the guest that belongs to no connection.
    private func refuse(_ ports: VsockPorts, sourceCID: UInt64 = VsockCID.host, type: UInt16 = VsockType.stream) {
        guard rx.enqueue(ResetQueue.Reset(sourceCID: sourceCID, ports: ports, type: type)) else {
            return complain("the guest takes no packets: a reset was dropped")
        }
        wakeReceive()
    }

    // MARK: Packets of the guest

    private func takePackets(_ queue: Virtqueue) {
        isTaking = true
        while let taken = tx.takeNext(queue) {
            switch taken {
            case .connected(let slot, let outcome, let packet): act(outcome, slot, packet)
            case .unconnected(let packet, let ports): takeUnconnected(packet, ports)
            case .invalid(let violation): complain("the guest sent \(violation)")
            }
        }
        while let send = tx.sendNext() { submit(send.operation, send.slot, .send) }
        // The guest waits for most answers, and has them sooner than by another turn.
        if rx.hasPacket, let queue = context?.queue(Queues.receive) { serveGuest(queue) }
        isTaking = false
    }

    /// Does what a packet of the guest calls for.
    private func act(_ outcome: VsockConnection.Outcome, _ slot: Int, _ packet: VsockHeader) {
        switch outcome {
        case .ignored: break
        case .noted, .data: settle(slot)
        case .accepted:
            act(connect.answer(slot), slot)
            settle(slot)
        case .restart:
            let ports = connections[slot].ports
            close(slot)
            dial(ports, packet)
        case .left(let wantsReset):
            if wantsReset { refuse(connections[slot].ports) }
            loseGuest(slot)
        case .violation(let violation):
            complain("the guest sent \(violation)")
            reset(slot)
        }
    }

    private func takeUnconnected(_ packet: VsockHeader, _ ports: VsockPorts) {
        if packet.isForHostStream, packet.operation == .request {
            dial(ports, packet)
        } else if transportReset.holdsReceive, packet.operation != .request {
            // The connection it is for ends with the transport reset, and a new one may get its ports.
        } else if packet.operation != .reset {
            refuse(ports, sourceCID: packet.destinationCID, type: packet.type)
        }
    }

    // MARK: Beginnings

    /// Takes the next program that connects; more wait in the socket's backlog.
    private func acceptNext() {
        guard let reactor, context != nil else { return }
        connect.accept(on: reactor) { [weak self] client in self?.welcome(client) }
    }

    private func welcome(_ client: consuming FileDescriptor) {
        if context != nil, makeRoom(), let slot = connections.open(fromHost: client) { watch(slot) }
        acceptNext()
    }

    /// Makes a connection that the guest requests.
    private func dial(_ ports: VsockPorts, _ packet: VsockHeader) {
        guard makeRoom(), let slot = connections.open(fromGuest: ports, packet) else { return refuse(ports) }
        act(connect.dial(slot), slot)
        settle(slot)
    }

    /// Does what comes next for a connection that begins.
    private func act(_ next: Connect.Next, _ slot: Int) {
        switch next {
        case .none: break
        case .submit(let operation, let kind): submit(operation, slot, kind)
        case .watch: watch(slot)
        case .loseHost:
            connections[slot].loseHost()
            discard(slot)
        case .close(let complaint):
            if let complaint { complain(complaint) }
            close(slot)
        case .reset(let complaint):
            if let complaint { complain(complaint) }
            reset(slot)
        }
    }

    /// Makes room for another connection; false, and a line in the log, if there are too many.
    private func makeRoom() -> Bool {
        if let slot = connections.evictable { reset(slot) }
        if connections.isFull { complain("all \(connections.capacity) connections are in use: one more was refused") }
        return !connections.isFull
    }

    // MARK: Ends

    /// The guest has left. What it has sent before still goes to the host.
    private func loseGuest(_ slot: Int) {
        connections.forgetPorts(slot)
        if connections[slot].loseGuest() { settle(slot) } else { close(slot) }
    }

    /// Ends a connection on both sides at once.
    private func reset(_ slot: Int) {
        refuse(connections[slot].ports)
        close(slot)
    }

    /// Ends a connection towards the host; the guest knows it already, or need not.
    private func close(_ slot: Int) {
        connections.forgetPorts(slot)
        connections[slot].close()
        discard(slot)
        cancelWaiting(slot)
        settle(slot)
    }

    private func discard(_ slot: Int) {
        tx.discard(slot, on: context?.queue(Queues.transmit))
        if tx.takeRoom() { wakeTransmit() }
    }

    /// Frees a slot that no operation uses.
    private func release(_ slot: Int) {
        connections.release(slot)
        connect.release(slot)
        tx.release(slot)
    }

    /// Does what a connection's state calls for, after anything has happened to it.
    private func settle(_ slot: Int) {
        let steps = connections[slot].settle()
        if !steps.isDisjoint(with: [.shutDownReading, .shutDownWriting]) {
            Socket.shutDown(
                connections[slot].socket, reading: steps.contains(.shutDownReading),
                writing: steps.contains(.shutDownWriting))
        }
        if steps.contains(.cancelWaiting) { cancelWaiting(slot) }
        if steps.contains(.closeSocket) { connections.closeSocket(slot) }
        if steps.contains(.release) { release(slot) }
        if steps.contains(.awaitWritable) {
            submit(.poll(connections.file(slot), PollEvents.writable), slot, .writable)
        }
        if steps.contains(.send) {
            if let flush = tx.enqueue(slot) { submit(flush, slot, .flush) } else { wakeTransmit() }
        }
        if steps.contains(.serveGuest) {
            rx.enqueue(slot)
            wakeReceive()
        }
    }

    // MARK: Operations

    private typealias Kind = VsockConnection.InFlight

    /// Submits an operation of a connection, which has none of this kind in flight.
    private func submit(_ operation: Operation, _ slot: Int, _ kind: Kind) {
        guard let reactor, reactor.submit(operation, for: self, tag: kind.tag(slot)) else { return }
        connections[slot].start(kind)
    }

    /// Watches a connection's socket, if it has one that matters.
    private func watch(_ slot: Int) {
        guard connections[slot].isWatched else { return }
        submit(.watch(connections.file(slot), PollEvents.readable | PollEvents.ended), slot, .watch)
    }

    /// Cancels operations that only wait, and might never end by themselves.
    private func cancelWaiting(_ slot: Int) {
        for kind in [Kind.watch, .writable, .pause] where connections[slot].inFlight.contains(kind) {
            reactor?.cancel(tag: kind.tag(slot), of: self)
        }
    }

    override package func ioEvent(tag: UInt32, result: Int32) {
        let slot = Kind.parse(tag).slot
        notice(slot, result)
        settle(slot)
    }

    override package func ioCompleted(tag: UInt32, result: Int32) {
        let (slot, kind) = Kind.parse(tag)
        connections[slot].complete(kind)
        switch kind {
        case .watch: completeWatch(slot, result)
        case .receive:
            if rx.completeRead(slot, result, on: context?.queue(Queues.receive)) { discard(slot) }
            wakeWaiting()
        case .send:
            tx.completeSend(slot, result, on: context?.queue(Queues.transmit))
            wakeWaiting()
        case .flush: tx.completeFlush(slot, result, on: context?.queue(Queues.transmit))
        case .line: act(connect.completeLine(slot, result), slot)
        case .pause: act(connect.dial(slot), slot)
        default: break
        }
        if tx.takeRoom() { wakeTransmit() }
        settle(slot)
    }

    /// A watch has ended: it was cancelled, or the kernel wants to be asked again.
    private func completeWatch(_ slot: Int, _ result: Int32) {
        if result < 0, result != -Errno.canceled.rawValue { return act(connections[slot].loseWatch(), slot) }
        if result > 0 { notice(slot, result) }
        watch(slot)
    }

    /// A socket has got data, or its other end has shut down or closed.
    private func notice(_ slot: Int, _ events: Int32) {
        let events = Int16(truncatingIfNeeded: events)
        let isGone = events & PollEvents.gone != 0
        act(connections[slot].notice(isLast: events & PollEvents.ended != 0, isGone: isGone), slot)
    }

    private func act(_ outcome: VsockConnection.SocketOutcome, _ slot: Int) {
        switch outcome {
        case .none: break
        case .readLine: act(connect.look(slot), slot)
        case .discard: discard(slot)
        case .close: close(slot)
        case .reset: reset(slot)
        }
    }

    // MARK: Turns

    /// Serves connections that waited for a message, in this turn or the next.
    private func wakeWaiting() {
        if rx.hasReadyConnection { wakeReceive() }
        if tx.hasSendable { wakeTransmit() }
    }

    /// Fills the guest's buffers in this turn, or the next.
    private func wakeReceive() {
        if !isServing, !isTaking, let context, let queue = context.queue(Queues.receive) { context.resume(queue) }
    }

    /// Takes and sends packets in this turn, or the next.
    private func wakeTransmit() {
        if !isTaking, let context, let queue = context.queue(Queues.transmit) { context.resume(queue) }
    }

    private func complain(_ text: String) {
        logLimit.write(.warn, id, text)
    }
}

extension Features {
    /// `VIRTIO_VSOCK_F_STREAM`
    static let vsockStream = Features(bit: 0)
}
