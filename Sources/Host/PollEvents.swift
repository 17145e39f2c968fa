import Glibc

/// What a file can be ready for (`poll(2)`).
package enum PollEvents {
    package static let readable = Int16(POLLIN)
    package static let writable = Int16(POLLOUT)
    /// The file has failed, or nobody is at its other end; always reported.
    package static let gone = Int16(POLLERR) | Int16(POLLHUP)
    /// The other end of a socket sends nothing more.
    package static let ended: Int16 = 0x2000
}
