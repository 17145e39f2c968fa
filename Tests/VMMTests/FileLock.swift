import Glibc
import Host

/// A lock on all of a file, as another process would have it: one of an open file, which excludes this process's own
/// record locks.
final class FileLock {
    private let file: Box<FileDescriptor>

    init(_ path: String) throws {
        let file = try FileDescriptor.open(path, .readWrite)
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        // F_OFD_SETLK
        guard unsafe fcntl(file.rawValue, 37, &lock) == 0 else { throw Errno(rawValue: errno) }
        self.file = Box(file)
    }

    func release() { _ = file.take() }
}
