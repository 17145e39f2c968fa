import Host

/// The operation of a packet (`VIRTIO_VSOCK_OP_*`, virtio 1.2 section 5.10.6).
struct VsockOperation: RawRepresentable, Equatable {
    let rawValue: UInt16

    static let request = VsockOperation(rawValue: 1)
    static let response = VsockOperation(rawValue: 2)
    static let reset = VsockOperation(rawValue: 3)
    static let shutdown = VsockOperation(rawValue: 4)
    /// `VIRTIO_VSOCK_OP_RW`: the packet carries data.
    static let data = VsockOperation(rawValue: 5)
    static let creditUpdate = VsockOperation(rawValue: 6)
    static let creditRequest = VsockOperation(rawValue: 7)
}

/// The kinds of socket (`VIRTIO_VSOCK_TYPE_*`).
enum VsockType {
    static let stream: UInt16 = 1
}

/// Well-known context identifiers.
enum VsockCID {
    static let host: UInt64 = 2
}

/// Which of its directions a peer has shut down for good (`VIRTIO_VSOCK_SHUTDOWN_F_*`).
struct VsockShutdown: OptionSet {
    let rawValue: UInt32

    /// The peer takes no more data.
    static let receiving = VsockShutdown(rawValue: 1)
    /// The peer sends no more data.
    static let sending = VsockShutdown(rawValue: 2)
    static let both: VsockShutdown = [.receiving, .sending]
}

/// The ports of a connection, which identify it: a device serves one guest and one host.
struct VsockPorts: BitwiseCopyable, Equatable {
    var guest: UInt32
    var host: UInt32
}

/// The header before each packet's data (`struct virtio_vsock_hdr`, virtio 1.2 section 5.10.6).
struct VsockHeader: BitwiseCopyable, Equatable {
    var sourceCID: UInt64 = 0
    var destinationCID: UInt64 = 0
    var sourcePort: UInt32 = 0
    var destinationPort: UInt32 = 0
    /// Length of the data [bytes].
    var length: UInt32 = 0
    var type = VsockType.stream
    var operation = VsockOperation.reset
    /// Of a shutdown: `VsockShutdown`.
    var flags: UInt32 = 0
    /// `buf_alloc`: the sender's buffer for the receiver's data [bytes].
    var bufferSize: UInt32 = 0
    /// `fwd_cnt`: bytes that have left that buffer since the connection began, modulo 2^32.
    var forwarded: UInt32 = 0

    static let size = 44

    /// Whether the packet is for a stream socket of the host.
    var isForHostStream: Bool { destinationCID == VsockCID.host && type == VsockType.stream }
}

extension VsockHeader {
    /// Takes a header from the front of a packet; nil if the packet is too short for one.
    init?(_ packet: SliceList) {
        guard packet.byteCount >= Self.size, let source: UInt64 = packet.take(),
            let destination: UInt64 = packet.take(), let sourcePort: UInt32 = packet.take(),
            let destinationPort: UInt32 = packet.take(),
            let length: UInt32 = packet.take(), let type: UInt16 = packet.take(), let operation: UInt16 = packet.take(),
            let flags: UInt32 = packet.take(), let bufferSize: UInt32 = packet.take(),
            let forwarded: UInt32 = packet.take()
        else { return nil }
        self.init(
            sourceCID: source, destinationCID: destination, sourcePort: sourcePort, destinationPort: destinationPort,
            length: length, type: type, operation: VsockOperation(rawValue: operation), flags: flags,
            bufferSize: bufferSize, forwarded: forwarded)
    }

    /// Writes the header into `memory`, which has `size` bytes.
    func store(into memory: HostSlice) {
        memory.store(sourceCID, at: 0)
        memory.store(destinationCID, at: 8)
        memory.store(sourcePort, at: 16)
        memory.store(destinationPort, at: 20)
        memory.store(length, at: 24)
        memory.store(type, at: 28)
        memory.store(operation.rawValue, at: 30)
        memory.store(flags, at: 32)
        memory.store(bufferSize, at: 36)
        memory.store(forwarded, at: 40)
    }
}
