import CHost
import Glibc

/// The host's clocks.
package enum Clock {
    /// Nanoseconds of `CLOCK_MONOTONIC`, the clock the ring's timers use.
    package static var monotonic: UInt64 { nanoseconds(CLOCK_MONOTONIC) }

    /// Nanoseconds since 1970 (`CLOCK_REALTIME`).
    package static var realTime: UInt64 { nanoseconds(CLOCK_REALTIME) }

    private static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return UInt64(clamping: time.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
    }
}

/// Fills `count` bytes from the kernel's random source.
package func randomBytes(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
        let got = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe getrandom(buffer.baseAddress.map { unsafe $0 + done }, count - done, 0)
        }
        if got > 0 { done += got } else if Errno.current != .interrupted { break }
    }
    return bytes
}

/// Lets a spinning thread's sibling run (`PAUSE`).
@inline(__always)
package func relaxCPU() {
    host_cpu_relax()
}
