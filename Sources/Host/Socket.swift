import CHost
import Glibc

/// Stream sockets: Unix and TCP.
package enum Socket {
    /// Longest path of a Unix socket, in bytes.
    package static let maximumPathLength = 107

    /// Binds and listens on a Unix socket at `path`, with mode 0600; the file must not exist.
    ///
    /// - Throws: `EADDRINUSE` if there is a file at `path`.
    package static func listen(unix path: String, backlog: Int32 = 16) throws(Errno) -> FileDescriptor {
        var address = try unixAddress(path)
        let socket = try make(AF_UNIX)
        let descriptor = socket.rawValue
        // The file that `bind` makes has the socket's mode. A change by path would follow a link put there since.
        _ = try checked { fchmod(descriptor, 0o600) }
        try unsafe withAddress(&address) { unsafe bind(descriptor, $0, $1) }
        do throws(Errno) {
            _ = try checked { Glibc.listen(descriptor, backlog) }
        } catch {
            unsafe unlink(path)
            throw error
        }
        return socket
    }

    /// Binds and listens on an IPv4 address (dotted decimal) and port.
    package static func listen(
        ipv4 host: String, port: UInt16, backlog: Int32 = 16
    ) throws(Errno) -> FileDescriptor {
        var address = try ipv4Address(host, port)
        let socket = try make(AF_INET)
        let descriptor = socket.rawValue
        var on: Int32 = 1
        _ = try checked {
            unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        try unsafe withAddress(&address) { unsafe bind(descriptor, $0, $1) }
        _ = try checked { Glibc.listen(descriptor, backlog) }
        return socket
    }

    /// Connects to a Unix socket; blocks only as long as its backlog is full.
    package static func connect(unix path: String) throws(Errno) -> FileDescriptor {
        var address = try unixAddress(path)
        let socket = try make(AF_UNIX)
        let descriptor = socket.rawValue
        try unsafe withAddress(&address) { unsafe Glibc.connect(descriptor, $0, $1) }
        return socket
    }

    /// Connects to a Unix socket without waiting; the socket never blocks.
    ///
    /// - Throws: `EAGAIN` while the listener's backlog is full, `ECONNREFUSED` or `ENOENT` if nobody listens there.
    package static func connectNow(unix path: String) throws(Errno) -> FileDescriptor {
        var address = try unixAddress(path)
        let socket = FileDescriptor(
            owning: try checked {
                Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue) | cloexec, 0)
            })
        let descriptor = socket.rawValue
        try unsafe withAddress(&address) { unsafe Glibc.connect(descriptor, $0, $1) }
        return socket
    }

    /// Whether some process listens on the Unix socket at `path`; never blocks.
    package static func isListening(unix path: String) throws(Errno) -> Bool {
        var address = try unixAddress(path)
        let socket = try make(AF_UNIX)
        try socket.setNonBlocking(true)
        let descriptor = socket.rawValue
        do throws(Errno) {
            try unsafe withAddress(&address) { unsafe Glibc.connect(descriptor, $0, $1) }
        } catch {
            // A full backlog is a listener too.
            if error == .again { return true }
            if error == .connectionRefused || error == .noEntry { return false }
            throw error
        }
        return true
    }

    /// Connects to an IPv4 address (dotted decimal) and port.
    package static func connect(ipv4 host: String, port: UInt16) throws(Errno) -> FileDescriptor {
        var address = try ipv4Address(host, port)
        let socket = try make(AF_INET)
        let descriptor = socket.rawValue
        try unsafe withAddress(&address) { unsafe Glibc.connect(descriptor, $0, $1) }
        return socket
    }

    /// Sends small pieces at once (`TCP_NODELAY`); without effect on other sockets.
    package static func setNoDelay(_ socket: borrowing FileDescriptor) {
        var on: Int32 = 1
        _ = unsafe setsockopt(
            socket.rawValue, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    /// A connected pair of Unix stream sockets.
    package static func pair() throws(Errno) -> SocketPair {
        var ends: [Int32] = [-1, -1]
        _ = try checked { unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | cloexec, 0, &ends) }
        return SocketPair(first: FileDescriptor(owning: ends[0]), second: FileDescriptor(owning: ends[1]))
    }

    /// The port a TCP socket is bound to.
    package static func boundPort(_ socket: borrowing FileDescriptor) throws(Errno) -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = socket.rawValue
        _ = try checked {
            unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe getsockname(descriptor, $0, &length)
                }
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// Ends one or both directions of a connection.
    package static func shutDown(_ socket: borrowing FileDescriptor, reading: Bool, writing: Bool) {
        shutDown(socket.rawValue, reading: reading, writing: writing)
    }

    /// Ends one or both directions of the connection whose descriptor has this number.
    package static func shutDown(_ socket: Int32, reading: Bool, writing: Bool) {
        let how = reading ? (writing ? SHUT_RDWR : SHUT_RD) : SHUT_WR
        guard reading || writing else { return }
        shutdown(socket, Int32(how))
    }

    /// Runs a system call with an address of any family and its length, again as long as a signal interrupts it.
    @unsafe
    private static func withAddress<Address: BitwiseCopyable>(
        _ address: inout Address, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(Errno) {
        _ = try checked {
            unsafe withUnsafePointer(to: &address) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe call($0, socklen_t(MemoryLayout<Address>.size))
                }
            }
        }
    }

    private static let cloexec = Int32(SOCK_CLOEXEC.rawValue)

    private static func make(_ family: Int32) throws(Errno) -> FileDescriptor {
        FileDescriptor(
            owning: try checked { socket(family, Int32(SOCK_STREAM.rawValue) | cloexec, 0) })
    }

    private static func unixAddress(_ path: String) throws(Errno) -> sockaddr_un {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, !bytes.contains(0) else { throw .invalidArgument }
        guard bytes.count <= maximumPathLength else { throw .nameTooLong }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        return address
    }

    private static func ipv4Address(_ host: String, _ port: UInt16) throws(Errno) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard unsafe inet_pton(AF_INET, host, &address.sin_addr) == 1 else { throw .invalidArgument }
        return address
    }
}

/// Two connected sockets.
@frozen
package struct SocketPair: ~Copyable {
    package var first: FileDescriptor
    package var second: FileDescriptor
}
