package import Host

/// A disk image whose bytes are the disk's: a regular file or a block device, open as long as this object lives.
///
/// The bytes are never looked at to guess another format: whatever a guest writes into its first sectors, a raw image
/// stays a raw image.
package final class RawImage {
    /// The path, as the user gave it.
    package let path: String
    package let isReadOnly: Bool
    /// Whether transfers bypass the host's page cache, and so must be aligned as `alignment` says.
    package let isDirect: Bool
    /// How the kernel wants transfers; 1 and 1 where it takes any.
    package let alignment: DirectAlignment
    /// The size that the disk's own addresses count in: 512 but for block devices that say otherwise.
    package let logicalBlockSize: Int
    /// What the host writes in one piece, a power of two not below `logicalBlockSize`; transfers of its multiples are
    /// the fast ones.
    package let physicalBlockSize: Int
    /// Device and inode, which tell whether two paths name one file.
    package let identity: (device: UInt64, inode: UInt64)
    let isBlockDevice: Bool
    private let file: FileDescriptor
    private var length: UInt64

    /// Opens the image at `path`.
    ///
    /// - Parameter leastAlignment: what direct transfers are to be aligned to even where the host wants less; a power
    ///   of two up to 64 KiB.
    /// - Throws: `ImageError` if there is none, if it is neither a regular file nor a block device, if the host lets
    ///   it not be opened in this way, or if `direct` cannot be had.
    package convenience init(
        path: String, readOnly: Bool, direct: Bool, leastAlignment: Int = 512
    ) throws(ImageError) {
        try self.init(
            Self.open(path, readOnly: readOnly, direct: direct), path, readOnly: readOnly, direct: direct,
            leastAlignment: leastAlignment)
    }

    /// Takes over an image that somebody else has opened. How it bypasses the page cache is a matter of the open file,
    /// and so changes for all who have it.
    ///
    /// - Parameter name: what errors call it.
    /// - Throws: as above, and if the file is not open for what the image needs.
    package convenience init(
        handedOver file: consuming FileDescriptor, name: String, readOnly: Bool, direct: Bool
    ) throws(ImageError) {
        try self.init(file, name, readOnly: readOnly, direct: direct, leastAlignment: 512)
    }

    private init(
        _ file: consuming FileDescriptor, _ path: String, readOnly: Bool, direct: Bool, leastAlignment: Int
    ) throws(ImageError) {
        let status: FileStatus
        do {
            status = try FileStatus(of: file)
        } catch {
            throw ImageError(path: path, problem: "\(error)")
        }
        guard status.kind == .regular || status.kind == .blockDevice else {
            throw ImageError(path: path, problem: "is neither a regular file nor a block device")
        }
        try Self.prepare(file, path, readOnly: readOnly, direct: direct)
        isBlockDevice = status.kind == .blockDevice
        let logical = isBlockDevice ? (try? file.logicalBlockSize()) ?? 512 : 512
        if direct {
            let needed = try Self.alignment(of: file, path)
            alignment = DirectAlignment(
                memory: max(needed.memory, leastAlignment), offset: max(needed.offset, leastAlignment))
        } else {
            alignment = DirectAlignment(memory: 1, offset: 1)
        }
        logicalBlockSize = max(512, Int(logical))
        let physical = isBlockDevice ? UInt64((try? file.physicalBlockSize()) ?? logical) : status.blockSize
        physicalBlockSize =
            physical.nonzeroBitCount == 1 && physical <= 1 << 20
            ? max(logicalBlockSize, Int(physical)) : logicalBlockSize
        self.file = file
        self.path = path
        isReadOnly = readOnly
        isDirect = direct
        identity = (status.device, status.inode)
        length = status.size
        try checkSize(status.size)
    }

    /// Size in bytes, as of opening or the last `refreshSize`.
    package var size: UInt64 { length }

    /// The descriptor, to register with a reactor; valid as long as this object lives.
    package var descriptor: Int32 { file.rawValue }

    /// Makes the file `size` bytes long; nothing is done to one that is that long already. Whoever uses the image calls
    /// `refreshSize` afterwards.
    ///
    /// - Throws: for a size that would cut something off, and for a host's disk that is not that large.
    package func grow(to size: UInt64) throws(ImageError) {
        do {
            let status = try FileStatus(of: file)
            guard status.size != size else { return }
            guard status.kind == .regular, size > status.size, !isReadOnly else {
                let reason =
                    isReadOnly ? "it is read-only" : size < status.size ? "that would cut it off" : "it is no file"
                throw ImageError(path: path, problem: "has \(status.size) bytes and cannot get \(size): \(reason)")
            }
            try checkSize(size)
            try file.truncate(to: size)
        } catch let error as ImageError {
            throw error
        } catch {
            throw ImageError(path: path, problem: "cannot get \(size) bytes: \(error)")
        }
    }

    /// Looks at the file's size again, after somebody has changed it.
    package func refreshSize() throws(ImageError) {
        let now: UInt64
        do {
            now = try FileStatus(of: file).size
        } catch {
            throw ImageError(path: path, problem: "its size cannot be told: \(error)")
        }
        try checkSize(now)
        length = now
    }

    // Without whole blocks, the last bytes of an image could not be written but by making it longer.
    private func checkSize(_ size: UInt64) throws(ImageError) {
        guard isReadOnly || size % UInt64(alignment.offset) == 0 else {
            throw ImageError(
                path: path,
                problem: "its size, \(size) bytes, is no multiple of the \(alignment.offset) bytes that direct=on "
                    + "needs here; make it one, or use direct=off")
        }
    }

    private static func open(_ path: String, readOnly: Bool, direct: Bool) throws(ImageError) -> FileDescriptor {
        // Not to wait for a writer, should it be a FIFO.
        var options: OpenOptions = [.nonBlocking, .noControllingTerminal]
        if direct { options.insert(.direct) }
        do {
            return try FileDescriptor.open(path, options.union(readOnly ? .readOnly : .readWrite))
        } catch {
            if direct, error == .invalidArgument {
                throw ImageError(path: path, problem: "its file system does not do direct I/O; use direct=off")
            }
            guard [.accessDenied, .notPermitted, .readOnlyFileSystem].contains(error) else {
                throw ImageError(path: path, problem: "\(error)")
            }
            guard !readOnly, (try? FileDescriptor.open(path, options.union(.readOnly))) != nil else {
                throw ImageError(path: path, problem: "\(error)", isDenied: true)
            }
            throw ImageError(path: path, problem: "\(error); it can be used with readonly=on")
        }
    }

    /// Has it be open as the image needs it, whoever has opened it.
    private static func prepare(
        _ file: borrowing FileDescriptor, _ path: String, readOnly: Bool, direct: Bool
    ) throws(ImageError) {
        do {
            let options = try file.options()
            guard options.allow(readOnly ? .readOnly : .readWrite) else {
                throw ImageError(
                    path: path, problem: "is not open for \(readOnly ? "reading" : "reading and writing")")
            }
            var wanted = options.subtracting([.nonBlocking, .append, .direct])
            if direct { wanted.insert(.direct) }
            if wanted != options { try file.setOptions(wanted) }
        } catch let error as ImageError {
            throw error
        } catch {
            guard direct, error as? Errno == .invalidArgument else {
                throw ImageError(path: path, problem: "cannot be used as it is open: \(error)")
            }
            throw ImageError(path: path, problem: "its file system does not do direct I/O; use direct=off")
        }
    }

    private static func alignment(
        of file: borrowing FileDescriptor, _ path: String
    ) throws(ImageError) -> DirectAlignment {
        do {
            let alignment = try file.directAlignment()
            if alignment.offset <= 64 << 10, alignment.memory <= 64 << 10 { return alignment }
        } catch {
            guard error == .notSupported else { throw ImageError(path: path, problem: "cannot be read: \(error)") }
        }
        throw ImageError(path: path, problem: "its file system does not do direct I/O; use direct=off")
    }
}

extension RawImage {
    // Bytes far from any data that QEMU and StratoVirt lock too, so that all of them keep out of each other's way.
    private static let lockedBytes: [Int64] = [101, 102, 202]

    /// Claims the image for this process: shared if it is read-only, else for itself alone.
    ///
    /// Call it when the machine starts, not before: an image may be open in two processes while a machine moves from
    /// one to the other. The locks are POSIX record locks and so belong to the process: they do not keep two drives of
    /// one machine apart, and closing any descriptor of the file drops them all. Locks that belong to the open file would
    /// have neither trouble, but not keep two processes apart that were handed the same one.
    ///
    /// - Throws: `ImageError` if another process holds a lock that excludes this one; then none is held here.
    package func lock() throws(ImageError) {
        for byte in Self.lockedBytes {
            do {
                try file.lock(byte: byte, exclusively: !isReadOnly)
            } catch {
                unlock()
                let kind = isReadOnly ? "read" : "write"
                guard error == .again || error == .accessDenied else {
                    throw ImageError(path: path, problem: "the \(kind) lock cannot be taken: \(error)")
                }
                throw ImageError(
                    path: path,
                    problem: "failed to get the \(kind) lock: another process uses it; end that one, or open the "
                        + "image with readonly=on in both")
            }
        }
    }

    /// Gives up what `lock` took.
    package func unlock() {
        for byte in Self.lockedBytes { try? file.unlock(byte: byte) }
    }
}
