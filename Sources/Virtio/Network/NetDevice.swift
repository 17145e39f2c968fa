package import Backends
import EventLoop
import Host

/// A network card (virtio 1.2 section 5.1) whose frames go to and from a tap of the host.
///
/// Its queues are a receiving and a sending one for each pair, and the control queue after them. What a driver may
/// read and command is here; frames are the `NetworkQueuePair`s' business.
package class NetDevice: VirtioDevice {
    /// What the user may choose about a card.
    package struct Options: Sendable {
        /// Six bytes.
        package var mac: [UInt8]
        /// A power of two, 256 to 4096.
        package var queueSize: UInt16 = 256

        package init(mac: [UInt8]) {
            self.mac = mac
        }
    }

    let tap: Tap
    let options: Options
    let filter: ReceiveFilter
    private(set) var context: DeviceContext?
    private var pairs: [NetworkQueuePair] = []
    private var activePairs = 1
    private(set) var isLinkUp = true
    private var isTapGone = false
    var logLimit = LogLimit()

    /// A frame's largest packet where nobody says so: some interfaces and drivers change theirs while they run.
    private static let jumboPacket = 9216
    private static let controlQueueSize: UInt16 = 64

    /// - Parameters:
    ///   - id: what the log calls the card.
    ///   - tap: used by this device alone.
    ///   - features: what there is to choose from; what the tap can do if nil.
    package init(id: String, tap: Tap, options: Options, features: Features? = nil) {
        self.tap = tap
        self.options = options
        filter = ReceiveFilter(address: Self.number(options.mac))
        let features = features ?? Self.features(tap)
        super.init(
            id: id, type: .network, features: features,
            queueSizes: [UInt16](repeating: options.queueSize, count: 2 * tap.queues.count) + [Self.controlQueueSize],
            config: Self.config(tap, options))
    }

    // MARK: Link and statistics

    /// What the driver has received.
    package var received: NetworkCounters { total { $0.receiver.counters } }

    /// What the driver has sent.
    package var sent: NetworkCounters { total { $0.transmitter.counters } }

    /// Directions as the guest has them.
    override package var counters: [DeviceCounter] { received.counters("rx") + sent.counters("tx") }

    private func total(_ counters: (NetworkQueuePair) -> NetworkCounters) -> NetworkCounters {
        var total = NetworkCounters()
        for pair in pairs { total += counters(pair) }
        return total
    }

    /// Plugs the cable in, or pulls it out: the driver is told, and without it frames are dropped both ways.
    package func setLink(up isUp: Bool) {
        guard isUp != isLinkUp, !(isUp && isTapGone) else { return }
        isLinkUp = isUp
        config.set(isUp ? NetworkConfig.linkUp : 0, at: NetworkConfig.status)
        openPairs()
        if let context, context.features.contains(.netStatus) { context.configChanged() }
    }

    /// Whether the driver's frames of a pair of queues pass.
    func isOpen(_ pair: Int) -> Bool { isLinkUp && pair < activePairs }

    /// The link is up or down from now on, or data queues have just been started.
    func openPairs() {
        for pair in pairs { pair.setOpen(isLinkUp) }
    }

    func tapIsGone() {
        guard !isTapGone else { return }
        Log.error(id, "the tap '\(tap.name)' is gone; the link is down")
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
        filter.reset(address: Self.number(options.mac), checksVLANs: context.features.contains(.netControlVLAN))
        startData(context)
        do {
            try setGuestOffloads(context.features.intersection(.netGuestOffloads))
        } catch {
            context.fail("the tap '\(tap.name)' does not take the driver's offloads: \(error)")
        }
    }

    /// The driver is ready: whoever serves the data queues begins. Elsewhere than here that may be the kernel.
    func startData(_ context: DeviceContext) {
        if pairs.isEmpty {
            pairs = tap.queues.indices.map { NetworkQueuePair($0, tap, context.reactor, filter: filter) }
        }
        for pair in pairs { pair.start(context, sends: sendsHere) }
        openPairs()
    }

    /// Whether the pairs of queues send, too.
    var sendsHere: Bool { true }

    /// The driver is gone, and nothing is in flight.
    func stopData() {
        for pair in pairs { pair.stop() }
    }

    // Only polls are ever under way.
    override package var isIdle: Bool { true }

    override package func reset() {
        stopData()
        context = nil
        config.set(bytes: options.mac, at: NetworkConfig.mac)
        do {
            try setQueuePairs(1)
        } catch {
            logLimit.write(.error, id, "the tap '\(tap.name)' keeps its queues: \(error)")
        }
    }

    override package func retired() {
        for pair in pairs { pair.retire() }
    }

    // MARK: What a driver may change

    /// Has the kernel finish what the driver does not take unfinished.
    func setGuestOffloads(_ offloads: Features) throws(Errno) {
        try tap.setOffloads(Self.tapOffloads(offloads).intersection(tap.offloads))
        for pair in pairs {
            pair.receiver.setOffloads(offloads, largestPacket: max(tap.mtu ?? 0, Self.jumboPacket))
        }
    }

    /// Uses this many pairs of queues.
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

    /// The control queue comes after those that the driver knows of.
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
