package import Backends
import EventLoop
import Host

/// A network device (virtio 1.2 section 5.1) whose frames go to and from a tap of the host.
///
/// Its queues are pairs of a receiving and a sending one, and the control queue after them. This class has the
/// configuration and the driver's settings; `NetworkQueuePair` moves the frames.
package class NetDevice: VirtioDevice {
    /// The user's choices.
    package struct Options: Sendable {
        /// The address, six bytes. A restored state replaces it.
        package var mac: [UInt8]
        /// A power of two, 256 to 4096.
        package var queueSize: UInt16 = 256

        package init(mac: [UInt8]) {
            self.mac = mac
        }
    }

    let tap: Tap
    let filter: ReceiveFilter
    /// The address that a driver finds after a reset.
    private var permanentMAC: [UInt8]
    private(set) var context: DeviceContext?
    private var pairs: [NetworkQueuePair] = []
    private var activePairs = 1
    /// The offloads of received frames that the driver has set; nil for all negotiated.
    private var guestOffloads: Features?
    private(set) var isLinkUp = true
    private var isTapGone = false
    var logLimit = LogLimit()

    /// The assumed MTU, in bytes: interfaces and drivers can raise theirs while the device runs.
    private static let jumboPacket = 9216
    private static let controlQueueSize: UInt16 = 64

    /// - Parameters:
    ///   - id: the device's name in the log.
    ///   - tap: used by this device alone.
    ///   - features: the features to offer; those of the tap if nil.
    package init(id: String, tap: Tap, options: Options, features: Features? = nil) {
        self.tap = tap
        permanentMAC = options.mac
        filter = ReceiveFilter(address: Self.number(options.mac))
        let features = features ?? Self.features(tap)
        super.init(
            id: id, type: .network, features: features,
            queueSizes: [UInt16](repeating: options.queueSize, count: 2 * tap.queues.count) + [Self.controlQueueSize],
            config: Self.config(tap, options))
    }

    // MARK: Link and statistics

    /// The frames that the driver has received.
    package var received: NetworkCounters { total { $0.receiver.counters } }

    /// The frames that the driver has sent.
    package var sent: NetworkCounters { total { $0.transmitter.counters } }

    /// The counters of both directions, as the guest sees them.
    override package var counters: [DeviceCounter] { received.counters("rx") + sent.counters("tx") }

    private func total(_ counters: (NetworkQueuePair) -> NetworkCounters) -> NetworkCounters {
        var total = NetworkCounters()
        for pair in pairs { total += counters(pair) }
        return total
    }

    /// Sets the link up or down and tells the driver. A link that is down drops frames both ways.
    package func setLink(up isUp: Bool) {
        guard isUp != isLinkUp, !(isUp && isTapGone) else { return }
        isLinkUp = isUp
        config.set(isUp ? NetworkConfig.linkUp : 0, at: NetworkConfig.status)
        openPairs()
        if let context, context.features.contains(.netStatus) { context.configChanged() }
    }

    /// Whether the driver's frames of a pair of queues pass.
    func isOpen(_ pair: Int) -> Bool { isLinkUp && pair < activePairs }

    /// Applies the link's state to the data queues, after a change or a start.
    func openPairs() {
        for pair in pairs { pair.setOpen(isLinkUp) }
    }

    func tapIsGone() {
        guard !isTapGone else { return }
        Log.error(id, "tap '\(tap.name)' is gone: the link is down")
        setLink(up: false)
        isTapGone = true
    }

    // MARK: Life

    override package func accepts(_ features: Features) -> Bool {
        Self.requirements.allSatisfy { feature, others in
            !features.contains(feature) || !features.isDisjoint(with: others)
        }
    }

    override package func activate(_ context: DeviceContext) {
        self.context = context
        filter.start(checksVLANs: context.features.contains(.netControlVLAN))
        startData(context)
        do {
            let negotiated = context.features.intersection(.netGuestOffloads)
            try applyGuestOffloads(guestOffloads?.intersection(negotiated) ?? negotiated)
            if !context.features.contains(.netMultiqueue) { activePairs = 1 }
            if activePairs > 1 { try setQueuePairs(activePairs) }
        } catch {
            context.fail("tap '\(tap.name)' refuses the driver's settings: \(error)")
        }
    }

    /// Starts whatever serves the data queues: this process or the kernel.
    func startData(_ context: DeviceContext) {
        if pairs.isEmpty {
            pairs = tap.queues.indices.map { NetworkQueuePair($0, tap, context.reactor, filter: filter) }
        }
        for pair in pairs { pair.start(context, sends: sendsHere) }
        openPairs()
    }

    /// Whether this reactor serves the sending queues, too.
    var sendsHere: Bool { true }

    /// Stops the data queues of a driver that is gone; nothing is in flight.
    func stopData() {
        for pair in pairs { pair.stop() }
    }

    // No operation but a poll is ever in flight.
    override package var isIdle: Bool { true }

    override package func reset() {
        stopData()
        context = nil
        setAddress(permanentMAC)
        filter.reset(address: Self.number(permanentMAC))
        guestOffloads = nil
        do {
            try setQueuePairs(1)
        } catch {
            logLimit.write(.error, id, "tap '\(tap.name)': cannot detach its queues: \(error)")
        }
    }

    override package func retired() {
        for pair in pairs { pair.retire() }
    }

    // MARK: State

    override package var deviceState: DeviceState {
        .network(
            State(
                permanentMAC: permanentMAC,
                mac: (0..<Ethernet.addressSize).map { UInt8(config.read(at: NetworkConfig.mac + $0, size: 1)) },
                isLinkUp: isLinkUp, pairs: tap.queues.count, activePairs: activePairs,
                offloads: guestOffloads?.rawValue, filter: filter.state))
    }

    /// Takes over a saved state; `activate` sets up the tap for it.
    override package func restore(_ state: DeviceState) throws(StateError) {
        guard case .network(let state) = state else { throw .otherType }
        try state.check(pairs: tap.queues.count)
        permanentMAC = state.permanentMAC
        config.set(bytes: state.mac, at: NetworkConfig.mac)
        filter.restore(state.filter, address: Self.number(state.mac))
        activePairs = state.activePairs
        guestOffloads = state.offloads.map { Features(rawValue: $0) }
        setLink(up: state.isLinkUp)
    }

    // MARK: The driver's settings

    /// Sets the offloads that the driver takes, by its command.
    func setGuestOffloads(_ offloads: Features) throws(Errno) {
        try applyGuestOffloads(offloads)
        guestOffloads = offloads
    }

    /// Has the kernel complete all frames but those that the driver takes incomplete.
    private func applyGuestOffloads(_ offloads: Features) throws(Errno) {
        try tap.setOffloads(Self.tapOffloads(offloads).intersection(tap.offloads))
        for pair in pairs {
            pair.receiver.setOffloads(offloads, largestPacket: max(tap.mtu ?? 0, Self.jumboPacket))
        }
    }

    /// Sets the number of pairs of queues in use.
    func setQueuePairs(_ count: Int) throws(Errno) {
        activePairs = count
        for (index, pair) in pairs.enumerated() { try pair.setAttached(index < count) }
        openPairs()
        guard let context else { return }
        for index in 0..<count { if let queue = context.queue(2 * index) { context.resume(queue) } }
    }

    func setAddress(_ mac: [UInt8]) {
        config.set(bytes: mac, at: NetworkConfig.mac)
        filter.setAddress(Self.number(mac))
    }

    // MARK: Queues

    /// The number of the control queue: it follows the pairs that the driver knows of.
    func controlQueue(_ features: Features) -> Int {
        features.contains(.netMultiqueue) ? 2 * tap.queues.count : 2
    }

    override package func process(_ queue: Virtqueue) {
        guard let context else { return }
        let index = queue.index
        if index == controlQueue(context.features) {
            if context.features.contains(.netControlQueue) { processControl(queue, context) }
        } else if index < 2 * activePairs {
            guard pairs.indices.contains(index / 2) else { return }
            let pair = pairs[index / 2]
            if !(index & 1 == 0 ? pair.receive(for: self) : pair.transmit(for: self)) { tapIsGone() }
        }
    }

    override package func ioCompleted(tag: UInt32, result: Int32) {
        guard let index = Int(exactly: tag), pairs.indices.contains(index / 2) else { return }
        if !pairs[index / 2].polled(isForReading: index & 1 == 0, for: self) { tapIsGone() }
    }
}
