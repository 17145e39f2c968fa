/// Features of a block device (virtio 1.2 section 5.2.3).
extension Features {
    /// `VIRTIO_BLK_F_SEG_MAX`: the configuration says how many buffers a request may have.
    package static let blockSegmentMaximum = Features(bit: 2)
    /// `VIRTIO_BLK_F_RO`: the disk cannot be written.
    package static let blockReadOnly = Features(bit: 5)
    /// `VIRTIO_BLK_F_BLK_SIZE`: the configuration has the size of a block.
    package static let blockSize = Features(bit: 6)
    /// `VIRTIO_BLK_F_FLUSH`: the disk has a cache, which a request flushes.
    package static let blockFlush = Features(bit: 9)
    /// `VIRTIO_BLK_F_TOPOLOGY`: the configuration says which transfers suit the disk.
    package static let blockTopology = Features(bit: 10)
    /// `VIRTIO_BLK_F_MQ`: there are several queues.
    package static let blockMultiqueue = Features(bit: 12)
    /// `VIRTIO_BLK_F_DISCARD`
    package static let blockDiscard = Features(bit: 13)
    /// `VIRTIO_BLK_F_WRITE_ZEROES`
    package static let blockWriteZeroes = Features(bit: 14)
}

/// What a request asks for (virtio 1.2 section 5.2.6).
struct BlockRequestType: RawRepresentable, Equatable, BitwiseCopyable {
    let rawValue: UInt32

    static let read = BlockRequestType(rawValue: 0)
    static let write = BlockRequestType(rawValue: 1)
    static let flush = BlockRequestType(rawValue: 4)
    static let getID = BlockRequestType(rawValue: 8)
    static let discard = BlockRequestType(rawValue: 11)
    static let writeZeroes = BlockRequestType(rawValue: 13)

    /// For the log.
    var name: String {
        switch self {
        case .read: "a read"
        case .write: "a write"
        case .flush: "a flush"
        case .getID: "a question for the serial number"
        case .discard: "a discard"
        case .writeZeroes: "writing zeroes"
        default: "request \(rawValue)"
        }
    }
}

/// How a request ended; the last byte that the device writes (virtio 1.2 section 5.2.6).
enum BlockStatus: UInt8 {
    case ok = 0
    case ioError = 1
    case unsupported = 2
}

/// The unit of all addresses and lengths of the protocol, whatever the size of the disk's blocks.
let sectorSize: UInt64 = 512

/// One range of a discard or of zeroing: a segment of the request, of 16 bytes.
struct BlockRange: BitwiseCopyable {
    var sector: UInt64 = 0
    var sectors: UInt32 = 0
    var flags: UInt32 = 0

    /// Bytes of one segment.
    static let size = 16
    /// The most segments that one request may have.
    static let mostSegments = 8
    /// The most sectors of one segment, so that its bytes fit 32 bits.
    static let mostSectors: UInt32 = 0x7f_ffff
    /// The guest no longer needs the storage behind the zeroes.
    static let unmap: UInt32 = 1
}
