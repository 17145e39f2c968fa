import CHost
import Glibc

/// A terminal in raw mode, whose earlier mode comes back when this value goes, however the process ends normally.
package final class RawTerminal {
    private let descriptor: Int32
    private let saved: termios

    /// Puts the terminal at `descriptor` into raw mode; nil if it is not a terminal.
    package init?(_ descriptor: Int32) {
        var mode = termios()
        guard isatty(descriptor) == 1, unsafe tcgetattr(descriptor, &mode) == 0 else { return nil }
        self.descriptor = descriptor
        saved = mode
        unsafe cfmakeraw(&mode)
        unsafe tcsetattr(descriptor, TCSANOW, &mode)
    }

    deinit {
        restore()
    }

    /// Brings back the mode found at the start.
    package func restore() {
        var mode = saved
        unsafe tcsetattr(descriptor, TCSANOW, &mode)
    }
}

/// A pseudo-terminal: the master for the monitor, and the path that a user opens.
package struct PseudoTerminal: ~Copyable {
    package let master: FileDescriptor
    package let path: String

    /// Opens a new pseudo-terminal in raw mode.
    ///
    /// The slave is kept open too, so that the master does not report a hang-up before anyone has come.
    package init() throws(Errno) {
        var master: Int32 = -1
        var slave: Int32 = -1
        _ = try checked { unsafe openpty(&master, &slave, nil, nil, nil) }
        self.master = FileDescriptor(owning: master)
        self.slave = FileDescriptor(owning: slave)
        for descriptor in [master, slave] { _ = host_fcntl(descriptor, F_SETFD, Int(FD_CLOEXEC)) }
        var mode = termios()
        unsafe tcgetattr(slave, &mode)
        unsafe cfmakeraw(&mode)
        unsafe tcsetattr(slave, TCSANOW, &mode)
        var number: UInt32 = 0
        _ = unsafe host_ioctl_pointer(master, HOST_TIOCGPTN, &number)
        path = "/dev/pts/\(number)"
    }

    private let slave: FileDescriptor
}
