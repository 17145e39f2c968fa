import CHost
import Glibc

/// A system call's failure, as `errno` numbers it.
package struct Errno: Error, Equatable, Sendable, RawRepresentable {
    package let rawValue: Int32

    package init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// The calling thread's last failure.
    package static var current: Errno { Errno(rawValue: errno) }

    package static let notPermitted = Errno(rawValue: EPERM)
    package static let noEntry = Errno(rawValue: ENOENT)
    package static let interrupted = Errno(rawValue: EINTR)
    package static let ioError = Errno(rawValue: EIO)
    package static let again = Errno(rawValue: EAGAIN)
    package static let noMemory = Errno(rawValue: ENOMEM)
    package static let accessDenied = Errno(rawValue: EACCES)
    package static let busy = Errno(rawValue: EBUSY)
    package static let exists = Errno(rawValue: EEXIST)
    package static let invalidArgument = Errno(rawValue: EINVAL)
    package static let noSpace = Errno(rawValue: ENOSPC)
    package static let readOnlyFileSystem = Errno(rawValue: EROFS)
    package static let nameTooLong = Errno(rawValue: ENAMETOOLONG)
    package static let noDevice = Errno(rawValue: ENODEV)
    package static let notTerminal = Errno(rawValue: ENOTTY)
    package static let connectionReset = Errno(rawValue: ECONNRESET)
    package static let noSystemCall = Errno(rawValue: ENOSYS)
    package static let notSupported = Errno(rawValue: EOPNOTSUPP)
    package static let timedOut = Errno(rawValue: ETIMEDOUT)
    /// A timer's time has come.
    package static let timerExpired = Errno(rawValue: ETIME)
    package static let canceled = Errno(rawValue: ECANCELED)
    package static let addressInUse = Errno(rawValue: EADDRINUSE)
    package static let noDeviceOrAddress = Errno(rawValue: ENXIO)
    /// A descriptor of a tap whose interface is gone, or that never had one.
    package static let unattachedTap = Errno(rawValue: EBADFD)
    package static let badDescriptor = Errno(rawValue: EBADF)
    package static let noProcess = Errno(rawValue: ESRCH)
    /// Too many symbolic links, or one where there must be none.
    package static let tooManyLinks = Errno(rawValue: ELOOP)
    package static let connectionRefused = Errno(rawValue: ECONNREFUSED)
}

extension Errno: CustomStringConvertible {
    /// The C library's text, for example `No such file or directory`.
    package var description: String {
        guard let text = unsafe host_strerror(rawValue) else { return "error \(rawValue)" }
        return unsafe String(cString: text)
    }
}

/// Runs a system call that answers -1 on failure, again as long as a signal interrupts it.
@inline(__always)
package func checked<T: SignedInteger>(_ call: () -> T) throws(Errno) -> T {
    while true {
        let result = call()
        if result != -1 { return result }
        let failure = Errno.current
        if failure != .interrupted { throw failure }
    }
}
