package import Host

/// A disk image whose bytes are the disk's: a regular file or a block device, open as long as this object lives.
///
/// Apus never guesses the format from the contents, which the guest can write.
package final class RawImage {
    /// The path, as the user gave it.
    package let path: String
    package let isReadOnly: Bool
    /// Whether transfers bypass the host's page cache, and so must have this alignment.
    package let isDirect: Bool
    /// The alignment that the kernel requires of transfers; 1 and 1 if it requires none.
    package let alignment: DirectAlignment
    /// The block sizes; 512 for the logical one unless a block device reports another.
    package let limits: ImageLimits
    /// Device and inode of the file: equal for two paths of one file.
    package let identity: (device: UInt64, inode: UInt64)
    let isBlockDevice: Bool
    private let file: FileDescriptor
    private var length: UInt64

    /// Opens the image at `path`.
    ///
    /// - Parameter minimumAlignment: the alignment of direct transfers if the host requires less; a power of two up to
    ///   64 KiB.
    /// - Throws: `ImageError` if the file is missing, if it is neither a regular file nor a block device, or if the
    ///   host does not allow this use.
    package convenience init(
        path: String, readOnly: Bool, direct: Bool, minimumAlignment: Int = 512
    ) throws(ImageError) {
        try self.init(
            Self.open(path, readOnly: readOnly, direct: direct), path, readOnly: readOnly, direct: direct,
            minimumAlignment: minimumAlignment)
    }

    /// Takes over an image that another process has opened. `direct` belongs to the open file, so it changes for every
    /// process that shares it.
    ///
    /// - Parameter name: the image's name in errors.
    /// - Throws: as above, and if the descriptor does not allow what the image needs.
    package convenience init(
        handedOver file: consuming FileDescriptor, name: String, readOnly: Bool, direct: Bool
    ) throws(ImageError) {
        try self.init(file, name, readOnly: readOnly, direct: direct, minimumAlignment: 512)
    }

    private init(
        _ file: consuming FileDescriptor, _ path: String, readOnly: Bool, direct: Bool, minimumAlignment: Int
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
                memory: max(needed.memory, minimumAlignment), offset: max(needed.offset, minimumAlignment))
        } else {
            alignment = DirectAlignment(memory: 1, offset: 1)
        }
        let logicalSize = max(512, Int(logical))
        let physical = isBlockDevice ? UInt64((try? file.physicalBlockSize()) ?? logical) : status.blockSize
        let isUsable = physical.nonzeroBitCount == 1 && physical <= 1 << 20
        limits = ImageLimits(
            logicalBlockSize: logicalSize,
            physicalBlockSize: isUsable ? max(logicalSize, Int(physical)) : logicalSize)
        self.file = file
        self.path = path
        isReadOnly = readOnly
        isDirect = direct
        identity = (status.device, status.inode)
        length = status.size
        try checkSize(status.size)
    }

    /// The size in bytes, as of opening or the last `refreshSize`.
    package var size: UInt64 { length }

    /// The descriptor, to register with a reactor; valid as long as this object lives.
    package var descriptor: Int32 { file.rawValue }

    /// Makes the file `size` bytes long; does nothing to one that has this size. The image's user calls `refreshSize`
    /// afterwards.
    ///
    /// - Throws: for a size that would cut off data, and if the host lacks the space.
    package func grow(to size: UInt64) throws(ImageError) {
        do {
            let status = try FileStatus(of: file)
            guard status.size != size else { return }
            guard status.kind == .regular, size > status.size, !isReadOnly else {
                let reason =
                    isReadOnly
                    ? "it is read-only" : size < status.size ? "that would cut off data" : "it is not a regular file"
                throw ImageError(
                    path: path, problem: "cannot resize it from \(status.size) to \(size) bytes: \(reason)")
            }
            try checkSize(size)
            try file.truncate(to: size)
        } catch let error as ImageError {
            throw error
        } catch {
            throw ImageError(path: path, problem: "cannot resize it to \(size) bytes: \(error)")
        }
    }

    /// Reads the file's size again, after a change.
    package func refreshSize() throws(ImageError) {
        let now: UInt64
        do {
            now = try FileStatus(of: file).size
        } catch {
            throw ImageError(path: path, problem: "cannot read its size: \(error)")
        }
        try checkSize(now)
        length = now
    }

    // A write of the last bytes would otherwise make the file longer.
    private func checkSize(_ size: UInt64) throws(ImageError) {
        guard isReadOnly || size % UInt64(alignment.offset) == 0 else {
            throw ImageError(
                path: path,
                problem:
                    "its size of \(size) bytes is not a multiple of \(alignment.offset), which direct=on requires; "
                    + "resize it or use direct=off")
        }
    }

    private static func open(_ path: String, readOnly: Bool, direct: Bool) throws(ImageError) -> FileDescriptor {
        // A FIFO must not make this wait for a writer.
        var options: OpenOptions = [.nonBlocking, .noControllingTerminal]
        if direct { options.insert(.direct) }
        do {
            return try FileDescriptor.open(path, options.union(readOnly ? .readOnly : .readWrite))
        } catch {
            if direct, error == .invalidArgument {
                throw ImageError(path: path, problem: "its file system does not support direct I/O; use direct=off")
            }
            guard [.accessDenied, .notPermitted, .readOnlyFileSystem].contains(error) else {
                throw ImageError(path: path, problem: "\(error)")
            }
            guard !readOnly, (try? FileDescriptor.open(path, options.union(.readOnly))) != nil else {
                throw ImageError(path: path, problem: "\(error)", isDenied: true)
            }
            throw ImageError(path: path, problem: "\(error); use readonly=on")
        }
    }

    /// Gives the open file the flags that the image needs.
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
                throw ImageError(path: path, problem: "cannot set its flags: \(error)")
            }
            throw ImageError(path: path, problem: "its file system does not support direct I/O; use direct=off")
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
        throw ImageError(path: path, problem: "its file system does not support direct I/O; use direct=off")
    }
}

extension RawImage {
    // The bytes that QEMU and StratoVirt lock too, so that each program notices the others.
    private static let lockedBytes: [Int64] = [101, 102, 202]

    /// Claims the image for this process: shared if it is read-only, else exclusively.
    ///
    /// Call it when the VM starts, not before: while a VM migrates, two processes have the image open. The locks are
    /// POSIX record locks, which belong to the process: they do not exclude two drives of one VM, and closing any
    /// descriptor of the file drops them all. Locks of the open file have neither problem, but do not exclude two
    /// processes that share the open file.
    ///
    /// - Throws: `ImageError` if another process holds a conflicting lock; then this process holds none.
    package func lock() throws(ImageError) {
        for byte in Self.lockedBytes {
            do {
                try file.lock(byte: byte, exclusively: !isReadOnly)
            } catch {
                unlock()
                let kind = isReadOnly ? "read" : "write"
                guard error == .again || error == .accessDenied else {
                    throw ImageError(path: path, problem: "cannot take the \(kind) lock: \(error)")
                }
                throw ImageError(
                    path: path,
                    problem: "failed to get the \(kind) lock: another process uses it; end that process, or use "
                        + "readonly=on in both")
            }
        }
    }

    /// Gives up what `lock` took.
    package func unlock() {
        for byte in Self.lockedBytes { try? file.unlock(byte: byte) }
    }
}
