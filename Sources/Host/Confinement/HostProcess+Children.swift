import CHost
import Glibc

extension HostProcess {
    /// Becomes another user with one group, for good.
    package static func become(user: UInt32, group: UInt32) throws(Errno) {
        _ = try checked { host_become(user, group) }
    }

    /// Has the kernel end this process when the one that started it has ended. To be said again after `become`.
    package static func endWithParent() throws(Errno) {
        _ = try checked { host_prctl(PR_SET_PDEATHSIG, UInt(SIGKILL), 0, 0, 0) }
    }

    /// Blocks the signals that a process which stands in for a child passes on, before there is the child; the mask as
    /// it was is for the child.
    package static func holdSignals() -> SignalMask {
        var (held, before) = (sigset_t(), sigset_t())
        unsafe sigemptyset(&held)
        for number in passedOn + [SIGCHLD] { unsafe sigaddset(&held, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &held, &before)
        return SignalMask(set: before)
    }

    /// The signals that a thread does not take.
    package struct SignalMask {
        fileprivate let set: sigset_t

        /// Makes it the calling thread's.
        package func restore() {
            var set = set
            unsafe pthread_sigmask(SIG_SETMASK, &set, nil)
        }
    }

    private static let passedOn = [SIGHUP, SIGINT, SIGTERM]

    /// Does nothing but what others expect of the child, until it has ended: passes signals on to it, and ends with its
    /// status, or by the signal that ended it. It keeps no file and no privilege that it does not need for that.
    package static func standIn(for child: Int32) -> Never {
        _ = host_close_range(3, .max)
        try? Capabilities.set(.signals, usable: .signals)
        var held = sigset_t()
        unsafe sigemptyset(&held)
        for number in passedOn + [SIGCHLD] { unsafe sigaddset(&held, number) }
        var status: Int32 = 0
        while unsafe waitpid(child, &status, WNOHANG) != child {
            var isSent: Int32 = 0
            let number = unsafe host_await_signal(&held, &isSent)
            // A terminal tells the child by itself.
            if passedOn.contains(number), isSent != 0 { kill(child, number) }
        }
        if host_wifsignaled(status) != 0 {
            let number = host_wtermsig(status)
            // The child has left the core dump, if there is to be one.
            var none = rlimit(rlim_cur: 0, rlim_max: 0)
            unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
            signal(number, SIG_DFL)
            unsafe sigemptyset(&held)
            unsafe sigaddset(&held, number)
            unsafe pthread_sigmask(SIG_UNBLOCK, &held, nil)
            kill(getpid(), number)
        }
        exitNow(host_wifexited(status) != 0 ? host_wexitstatus(status) : 255)
    }
}
