package import Backends
import Host

/// The features and the configuration of a network device.
extension NetDevice {
    /// The features that the tap supports.
    package static func features(_ tap: Tap) -> Features {
        var features: Features = [
            .splitRing, .netMAC, .netStatus, .netMergeableBuffers, .netControlQueue, .netControlReceive,
            .netControlReceiveExtra, .netControlVLAN, .netControlMAC,
        ]
        let offloads = tap.offloads
        if offloads.contains(.checksum) {
            features.formUnion([.netChecksum, .netGuestChecksum, .netControlGuestOffloads])
        }
        if offloads.contains(.tso4) { features.formUnion([.netHostTSO4, .netGuestTSO4]) }
        if offloads.contains(.tso6) { features.formUnion([.netHostTSO6, .netGuestTSO6]) }
        if offloads.contains(.ecn) { features.formUnion([.netHostECN, .netGuestECN]) }
        if offloads.contains(.uso) { features.formUnion([.netHostUSO, .netGuestUSO4, .netGuestUSO6]) }
        if tap.queues.count > 1 { features.insert(.netMultiqueue) }
        // The usual MTU is not announced: the driver may then use another one that both ends agree on.
        if let mtu = tap.mtu, mtu != usualMTU, mtu >= leastMTU { features.insert(.netMTU) }
        return features
    }

    private static var usualMTU: Int { 1500 }
    /// The smallest MTU that a device may offer.
    private static var leastMTU: Int { 68 }

    /// `struct virtio_net_config` (virtio 1.2 section 5.1.4).
    static func config(_ tap: Tap, _ options: Options) -> ConfigSpace {
        var config = ConfigSpace(size: NetworkConfig.size)
        config.set(bytes: options.mac, at: NetworkConfig.mac)
        config.set(NetworkConfig.linkUp, at: NetworkConfig.status)
        config.set(UInt16(clamping: tap.queues.count), at: NetworkConfig.queuePairs)
        config.set(UInt16(clamping: tap.mtu ?? usualMTU), at: NetworkConfig.mtu)
        return config
    }

    /// Each feature with the features of which it requires one (virtio 1.2 section 5.1.3.1).
    static let requirements: [(Features, Features)] = [
        (.netGuestTSO4, .netGuestChecksum), (.netGuestTSO6, .netGuestChecksum), (.netGuestUSO4, .netGuestChecksum),
        (.netGuestUSO6, .netGuestChecksum), (.netGuestECN, [.netGuestTSO4, .netGuestTSO6]),
        (.netHostTSO4, .netChecksum), (.netHostTSO6, .netChecksum), (.netHostUSO, .netChecksum),
        (.netHostECN, [.netHostTSO4, .netHostTSO6]), (.netControlReceive, .netControlQueue),
        (.netControlVLAN, .netControlQueue), (.netControlMAC, .netControlQueue), (.netMultiqueue, .netControlQueue),
        (.netControlGuestOffloads, .netControlQueue), (.netControlReceiveExtra, .netControlQueue),
    ]

    /// The tap's offloads for the driver's features.
    static func tapOffloads(_ features: Features) -> TapOffloads {
        guard features.contains(.netGuestChecksum) else { return [] }
        var offloads: TapOffloads = .checksum
        if features.contains(.netGuestTSO4) { offloads.insert(.tso4) }
        if features.contains(.netGuestTSO6) { offloads.insert(.tso6) }
        if features.contains(.netGuestECN) { offloads.insert(.ecn) }
        if features.isSuperset(of: [.netGuestUSO4, .netGuestUSO6]) { offloads.formUnion(.uso) }
        return offloads
    }

    /// The six bytes of an address as they lie in memory, little-endian.
    static func number(_ mac: [UInt8]) -> UInt64 {
        mac.prefix(Ethernet.addressSize).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
