/// Features of a block device (virtio 1.2 section 5.2.3).
extension Features {
    /// `VIRTIO_BLK_F_SEG_MAX`: the configuration has the most buffers of a request.
    package static let blockSegmentMaximum = Features(bit: 2)
    /// `VIRTIO_BLK_F_RO`: the disk is read-only.
    package static let blockReadOnly = Features(bit: 5)
    /// `VIRTIO_BLK_F_BLK_SIZE`: the configuration has the size of a block.
    package static let blockSize = Features(bit: 6)
    /// `VIRTIO_BLK_F_FLUSH`: the disk has a write cache, and a request to flush it.
    package static let blockFlush = Features(bit: 9)
    /// `VIRTIO_BLK_F_TOPOLOGY`: the configuration has the best sizes of transfers.
    package static let blockTopology = Features(bit: 10)
    /// `VIRTIO_BLK_F_MQ`: there are several queues.
    package static let blockMultiqueue = Features(bit: 12)
    /// `VIRTIO_BLK_F_DISCARD`
    package static let blockDiscard = Features(bit: 13)
    /// `VIRTIO_BLK_F_WRITE_ZEROES`
    package static let blockWriteZeroes = Features(bit: 14)
}

/// The type of a request (virtio 1.2 section 5.2.6).
struct BlockRequestType: RawRepresentable, Equatable, BitwiseCopyable {
    let rawValue: UInt32

    static let read = BlockRequestType(rawValue: 0)
    static let write = BlockRequestType(rawValue: 1)
    static let flush = BlockRequestType(rawValue: 4)
    static let getID = BlockRequestType(rawValue: 8)
    static let discard = BlockRequestType(rawValue: 11)
    static let writeZeroes = BlockRequestType(rawValue: 13)

    /// The name in the log.
    var name: String {
        switch self {
        case .read: "read"
        case .write: "write"
        case .flush: "flush"
        case .getID: "GET_ID"
        case .discard: "discard"
        case .writeZeroes: "write zeroes"
        default: "request of type \(rawValue)"
        }
    }
}

/// The result of a request: the last byte that the device writes (virtio 1.2 section 5.2.6).
enum BlockStatus: UInt8 {
    case ok = 0
    case ioError = 1
    case unsupported = 2
}

/// The unit of all addresses and lengths of the protocol, in bytes; the disk's block size does not change it.
let sectorSize: UInt64 = 512

/// One range of a discard or write zeroes request: a segment of 16 bytes.
struct BlockRange: BitwiseCopyable {
    var sector: UInt64 = 0
    var sectors: UInt32 = 0
    var flags: UInt32 = 0

    /// Bytes of one segment.
    static let size = 16
    /// The most segments of one request.
    static let mostSegments = 8
    /// The most sectors of one segment: its bytes fit 32 bits.
    static let mostSectors: UInt32 = 0x7f_ffff
    /// The flag that lets the host free the storage.
    static let unmap: UInt32 = 1
}
