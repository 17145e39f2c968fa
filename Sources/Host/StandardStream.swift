import CHost
import Glibc

extension FileDescriptor {
    /// A descriptor of one's own for standard input (0), output (1) or error (2).
    ///
    /// - Throws: `EBADF` if the process was started without it.
    package static func standard(_ number: Int32) throws(Errno) -> FileDescriptor {
        FileDescriptor(owning: try checked { host_fcntl(number, F_DUPFD_CLOEXEC, 3) })
    }
}
