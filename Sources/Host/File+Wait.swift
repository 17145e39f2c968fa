import CHost
import Glibc

extension FileDescriptor {
    /// Waits until the file can be read, or nobody is at its other end; blocking, for start-up.
    ///
    /// - Parameter deadline: of the monotonic clock, in nanoseconds.
    /// - Throws: `ETIMEDOUT` at the deadline.
    package func waitUntilReadable(by deadline: UInt64) throws(Errno) {
        while true {
            let now = Clock.monotonic
            let left = deadline > now ? Int32(clamping: (deadline - now) / 1_000_000 + 1) : 0
            var ready = pollfd(fd: rawValue, events: PollEvents.readable, revents: 0)
            if try checked({ unsafe poll(&ready, 1, left) }) > 0 { return }
            if left == 0 { throw .timedOut }
        }
    }
}
