import CHost
import Glibc

/// A counter that threads, the kernel's KVM and the ring use to wake one another (`eventfd(2)`).
package struct EventFD: ~Copyable, Sendable {
    package let descriptor: FileDescriptor

    package init() throws(Errno) {
        descriptor = FileDescriptor(
            owning: try checked { eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)) })
    }

    package var rawValue: Int32 { descriptor.rawValue }

    /// Adds one to the counter; a counter that is full wakes its reader all the same.
    package func signal() {
        _ = eventfd_write(descriptor.rawValue, 1)
    }

    /// Takes the counter's value and sets it to zero; nil when it is zero already.
    package func take() -> UInt64? {
        var value: eventfd_t = 0
        return unsafe eventfd_read(descriptor.rawValue, &value) == 0 ? value : nil
    }
}
