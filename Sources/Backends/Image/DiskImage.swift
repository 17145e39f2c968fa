package import Host

/// An open disk image in any format.
package enum DiskImage {
    /// The disk's bytes are the file's.
    case raw(RawImage)

    /// Opens the image at `path`.
    ///
    /// - Throws: `ImageError` if the file is missing or of the wrong kind, or if the host does not allow this use.
    package static func open(path: String, readOnly: Bool, direct: Bool) throws(ImageError) -> DiskImage {
        .raw(try RawImage(path: path, readOnly: readOnly, direct: direct))
    }

    /// Takes over an image that another process has opened.
    ///
    /// - Parameter name: the image's name in errors.
    /// - Throws: as `open`, and if the descriptor does not allow what the image needs.
    package static func inherit(
        _ file: consuming FileDescriptor, name: String, readOnly: Bool, direct: Bool
    ) throws(ImageError) -> DiskImage {
        .raw(try RawImage(handedOver: file, name: name, readOnly: readOnly, direct: direct))
    }

    /// The format's name, as QEMU spells it.
    package var format: String {
        switch self {
        case .raw: "raw"
        }
    }

    /// The path, as the user gave it.
    package var path: String {
        switch self {
        case .raw(let image): image.path
        }
    }

    /// The disk's size in bytes, as of opening or the last `refreshSize`.
    package var size: UInt64 {
        switch self {
        case .raw(let image): image.size
        }
    }

    package var isReadOnly: Bool {
        switch self {
        case .raw(let image): image.isReadOnly
        }
    }

    /// The alignment of transfers that bypass the page cache; 1 and 1 for an image that uses the cache.
    package var alignment: DirectAlignment {
        switch self {
        case .raw(let image): image.alignment
        }
    }

    /// The block sizes that the driver should know.
    package var limits: ImageLimits {
        switch self {
        case .raw(let image): image.limits
        }
    }

    /// Device and inode of the file: equal for two paths of one file.
    package var identity: (device: UInt64, inode: UInt64) {
        switch self {
        case .raw(let image): image.identity
        }
    }

    /// Makes the disk `size` bytes long; does nothing to one that has this size.
    ///
    /// The image's user calls `refreshSize` afterwards.
    ///
    /// - Throws: `ImageError` for a size that would cut off data, and if the host lacks the space.
    package func grow(to size: UInt64) throws(ImageError) {
        switch self {
        case .raw(let image): try image.grow(to: size)
        }
    }

    /// Reads the disk's size again, after a change.
    package func refreshSize() throws(ImageError) {
        switch self {
        case .raw(let image): try image.refreshSize()
        }
    }

    /// Claims the image for this process: shared if it is read-only, else exclusively.
    ///
    /// - Throws: `ImageError` if another process holds a conflicting lock.
    package func lock() throws(ImageError) {
        switch self {
        case .raw(let image): try image.lock()
        }
    }
}

/// The block sizes of an image, in bytes. Each is a power of two.
package struct ImageLimits: Equatable, Sendable {
    /// The unit of the disk's addresses; at least 512.
    package let logicalBlockSize: Int
    /// The smallest unit that the host writes without reading first; not below `logicalBlockSize`.
    package let physicalBlockSize: Int

    package init(logicalBlockSize: Int, physicalBlockSize: Int) {
        self.logicalBlockSize = logicalBlockSize
        self.physicalBlockSize = physicalBlockSize
    }
}
