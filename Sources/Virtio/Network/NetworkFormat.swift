import Host

/// Features of a network device (virtio 1.2 section 5.1.3). "Guest" features concern received frames, "host" features
/// sent ones.
extension Features {
    /// `VIRTIO_NET_F_CSUM`: the driver may send frames without their checksum.
    package static let netChecksum = Features(bit: 0)
    /// `VIRTIO_NET_F_GUEST_CSUM`
    package static let netGuestChecksum = Features(bit: 1)
    /// `VIRTIO_NET_F_CTRL_GUEST_OFFLOADS`: the driver can change the offloads of received frames.
    package static let netControlGuestOffloads = Features(bit: 2)
    /// `VIRTIO_NET_F_MTU`: the configuration has the MTU.
    package static let netMTU = Features(bit: 3)
    /// `VIRTIO_NET_F_MAC`: the configuration has the address.
    package static let netMAC = Features(bit: 5)
    /// `VIRTIO_NET_F_GUEST_TSO4`
    package static let netGuestTSO4 = Features(bit: 7)
    /// `VIRTIO_NET_F_GUEST_TSO6`
    package static let netGuestTSO6 = Features(bit: 8)
    /// `VIRTIO_NET_F_GUEST_ECN`
    package static let netGuestECN = Features(bit: 9)
    /// `VIRTIO_NET_F_HOST_TSO4`
    package static let netHostTSO4 = Features(bit: 11)
    /// `VIRTIO_NET_F_HOST_TSO6`
    package static let netHostTSO6 = Features(bit: 12)
    /// `VIRTIO_NET_F_HOST_ECN`
    package static let netHostECN = Features(bit: 13)
    /// `VIRTIO_NET_F_MRG_RXBUF`: a received frame may take several buffers.
    package static let netMergeableBuffers = Features(bit: 15)
    /// `VIRTIO_NET_F_STATUS`: the configuration has the state of the link.
    package static let netStatus = Features(bit: 16)
    /// `VIRTIO_NET_F_CTRL_VQ`: there is a control queue.
    package static let netControlQueue = Features(bit: 17)
    /// `VIRTIO_NET_F_CTRL_RX`: the driver sets receive modes.
    package static let netControlReceive = Features(bit: 18)
    /// `VIRTIO_NET_F_CTRL_VLAN`: the driver filters VLANs.
    package static let netControlVLAN = Features(bit: 19)
    /// `VIRTIO_NET_F_CTRL_RX_EXTRA`
    package static let netControlReceiveExtra = Features(bit: 20)
    /// `VIRTIO_NET_F_MQ`: there are several pairs of queues.
    package static let netMultiqueue = Features(bit: 22)
    /// `VIRTIO_NET_F_CTRL_MAC_ADDR`: the driver sets the address by a command.
    package static let netControlMAC = Features(bit: 23)
    /// `VIRTIO_NET_F_GUEST_USO4`
    package static let netGuestUSO4 = Features(bit: 54)
    /// `VIRTIO_NET_F_GUEST_USO6`
    package static let netGuestUSO6 = Features(bit: 55)
    /// `VIRTIO_NET_F_HOST_USO`
    package static let netHostUSO = Features(bit: 56)

    /// The features with which a received frame can exceed the MTU.
    static let netGuestSegments: Features = [.netGuestTSO4, .netGuestTSO6, .netGuestUSO4, .netGuestUSO6]
    /// The offloads that a driver can switch by a command, by the same bits.
    static let netGuestOffloads = netGuestSegments.union([.netGuestChecksum, .netGuestECN])
}

/// `struct virtio_net_hdr_v1` (virtio 1.2 section 5.1.6), which precedes each frame.
enum NetworkHeader {
    static let size = 12
    /// `gso_type` in the two bytes of flags and type; 0 for a frame within the MTU.
    static let segmentation: UInt16 = 0xff00
    /// The offset of the number of buffers of a received frame.
    static let bufferCount = 10
}

/// `struct virtio_net_config` (virtio 1.2 section 5.1.4).
enum NetworkConfig {
    static let size = 12
    static let mac = 0
    static let status = 6
    static let queuePairs = 8
    static let mtu = 10
    /// `VIRTIO_NET_S_LINK_UP`
    static let linkUp: UInt16 = 1
}

/// Sizes and offsets of an Ethernet frame, in bytes.
enum Ethernet {
    /// Two addresses and a type.
    static let headerSize = 14
    /// An address; the destination comes first.
    static let addressSize = 6
    /// The offset of a VLAN tag, and its first two bytes.
    static let tag = 12
    static let tagProtocol: UInt16 = 0x8100
    static let vlanCount = 4096
    /// The largest frame, before segmentation: an IPv6 packet with its header and a VLAN tag.
    static let largestFrame = 14 + 4 + 40 + 65535
}

/// A command: its class and its number in one integer (virtio 1.2 section 5.1.6.5).
enum NetworkCommand: UInt16 {
    case promiscuous = 0x0000
    case allMulticast = 0x0001
    case allUnicast = 0x0002
    case noMulticast = 0x0003
    case noUnicast = 0x0004
    case noBroadcast = 0x0005
    case setAddressTable = 0x0100
    case setAddress = 0x0101
    case addVLAN = 0x0200
    case deleteVLAN = 0x0201
    case setQueuePairs = 0x0400
    case setGuestOffloads = 0x0500

    /// The feature that a driver needs for it.
    var feature: Features {
        switch self {
        case .promiscuous, .allMulticast, .setAddressTable: .netControlReceive
        case .allUnicast, .noMulticast, .noUnicast, .noBroadcast: .netControlReceiveExtra
        case .setAddress: .netControlMAC
        case .addVLAN, .deleteVLAN: .netControlVLAN
        case .setQueuePairs: .netMultiqueue
        case .setGuestOffloads: .netControlGuestOffloads
        }
    }
}
