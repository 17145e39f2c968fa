import CHost
import Glibc

/// Signals of the host, as the monitor uses them.
package enum Signals {
    package static let hangUp = SIGHUP
    package static let interrupt = SIGINT
    package static let terminate = SIGTERM

    /// The signal that ends a vCPU thread's stay in the guest; its handler does nothing.
    package static let kick = host_sigrtmin()

    /// Blocks the signals that end a machine in this thread and all it starts, ignores `SIGPIPE`, and gives
    /// `kick` its handler.
    ///
    /// - Returns: a descriptor that becomes readable, with records of `recordSize` bytes, when one arrives.
    package static func takeOver() throws(Errno) -> FileDescriptor {
        signal(SIGPIPE, SIG_IGN)
        _ = try checked { host_install_empty_handler(kick) }
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [hangUp, interrupt, terminate] { unsafe sigaddset(&set, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        return FileDescriptor(
            owning: try checked { unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK)) })
    }

    /// Ends the process with `status`, and not by the signal, when guest memory turns out to be missing: its file was cut
    /// off, or there are no huge pages left. One line on `log` says so.
    package static func reportMissingMemory(log: Int32, status: Int32) throws(Errno) {
        _ = try checked { host_handle_memory_faults(log, status) }
    }

    /// Lets `kick` through to the calling thread, whatever the thread that started it had blocked.
    package static func admitKick() {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        unsafe sigaddset(&set, kick)
        unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
    }

    /// Length of one record read from the signal descriptor; its first four bytes are the signal's number.
    package static let recordSize = MemoryLayout<signalfd_siginfo>.size
}
