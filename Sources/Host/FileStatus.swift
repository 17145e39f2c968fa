import CHost
import Glibc

/// What the kernel tells about a file.
package struct FileStatus: Sendable {
    /// The kinds of file that matter to a monitor.
    package enum Kind: Sendable {
        case regular, directory, characterDevice, blockDevice, fifo, socket, other
    }

    package let kind: Kind
    /// Length in bytes; of a block device, its capacity.
    package let size: UInt64
    /// How many bytes the file takes on its file system; fewer than its length if it has holes.
    package let allocatedSize: UInt64
    /// The file system's preferred transfer size, in bytes.
    package let blockSize: UInt64
    /// Device and inode together name a file on this host.
    package let device: UInt64
    package let inode: UInt64
    /// When its content was changed last, in seconds since 1970.
    package let modified: UInt64

    private init(_ status: stat, size: UInt64) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFCHR: .characterDevice
            case S_IFBLK: .blockDevice
            case S_IFIFO: .fifo
            case S_IFSOCK: .socket
            default: .other
            }
        self.size = size
        allocatedSize = UInt64(clamping: status.st_blocks) &* 512
        blockSize = UInt64(clamping: status.st_blksize)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        modified = UInt64(clamping: status.st_mtim.tv_sec)
    }

    /// The status of an open file.
    package init(of file: borrowing FileDescriptor) throws(Errno) {
        var status = stat()
        let descriptor = file.rawValue
        _ = try checked { unsafe fstat(descriptor, &status) }
        var size = UInt64(clamping: status.st_size)
        if status.st_mode & S_IFMT == S_IFBLK {
            _ = try checked { unsafe host_ioctl_pointer(descriptor, HOST_BLKGETSIZE64, &size) }
        }
        self.init(status, size: size)
    }

    /// The status of the file at `path`; with `followLinks` off, of a symbolic link itself.
    package init(at path: String, followLinks: Bool = true) throws(Errno) {
        var status = stat()
        _ = try checked { unsafe followLinks ? stat(path, &status) : lstat(path, &status) }
        self.init(status, size: UInt64(clamping: status.st_size))
    }
}

extension FileDescriptor {
    /// The size of the file's pages in bytes if it lies on a hugetlbfs.
    package func hugePageSize() throws(Errno) -> Int? {
        var status = statfs()
        _ = try checked { unsafe fstatfs(rawValue, &status) }
        return Int64(status.f_type) == Self.hugeTLBFileSystem ? Int(status.f_bsize) : nil
    }

    /// `HUGETLBFS_MAGIC`
    private static let hugeTLBFileSystem: Int64 = 0x9584_58f6

    /// The logical block size of a block device, in bytes.
    package func logicalBlockSize() throws(Errno) -> UInt32 {
        var size: Int32 = 0
        _ = try checked { unsafe host_ioctl_pointer(rawValue, HOST_BLKSSZGET, &size) }
        return UInt32(clamping: size)
    }

    /// The physical block size of a block device, in bytes.
    package func physicalBlockSize() throws(Errno) -> UInt32 {
        var size: UInt32 = 0
        _ = try checked { unsafe host_ioctl_pointer(rawValue, HOST_BLKPBSZGET, &size) }
        return size
    }

    /// Tries to lock one byte with a POSIX record lock, without waiting.
    ///
    /// - Throws: `EAGAIN` or `EACCES` when another process holds a lock that excludes this one.
    package func lock(byte offset: Int64, exclusively: Bool) throws(Errno) {
        var lock = flock()
        lock.l_type = Int16(exclusively ? F_WRLCK : F_RDLCK)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(offset)
        lock.l_len = 1
        _ = try checked { unsafe host_fcntl_lock(rawValue, F_SETLK, &lock) }
    }

    /// Releases the record lock on one byte.
    package func unlock(byte offset: Int64) throws(Errno) {
        var lock = flock()
        lock.l_type = Int16(F_UNLCK)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(offset)
        lock.l_len = 1
        _ = try checked { unsafe host_fcntl_lock(rawValue, F_SETLK, &lock) }
    }
}
