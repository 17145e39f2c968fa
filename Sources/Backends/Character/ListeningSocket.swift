import Host

/// A socket that a chardev's clients connect to, and the file by which they find it.
struct ListeningSocket: ~Copyable {
    let socket: FileDescriptor
    /// Of a Unix socket.
    let file: SocketFile?

    /// Listens at `path`. A socket that nobody listens on any more is replaced; any other file is left alone.
    static func unix(
        _ path: String, id: String, backlog: Int32 = 16
    ) throws(ChardevError) -> ListeningSocket {
        if let status = try? FileStatus(at: path, followLinks: false) {
            guard status.kind == .socket else {
                throw failure(id, path, "a file that is no socket is there; remove it or give another path")
            }
            do throws(Errno) {
                guard try !Socket.isListening(unix: path) else { throw .addressInUse }
                try removeFile(path)
            } catch .addressInUse {
                throw failure(id, path, "another process listens there; give another path")
            } catch {
                throw failure(id, path, error.description)
            }
        }
        do throws(Errno) {
            let socket = try Socket.listen(unix: path, backlog: backlog)
            return ListeningSocket(socket: socket, file: try SocketFile(path))
        } catch {
            throw failure(id, path, error.description)
        }
    }

    /// Listens at an IPv4 address and port.
    static func tcp(_ host: String, _ port: UInt16, id: String) throws(ChardevError) -> ListeningSocket {
        do throws(Errno) {
            return ListeningSocket(socket: try Socket.listen(ipv4: host, port: port), file: nil)
        } catch {
            throw failure(id, "\(host):\(port)", error.description)
        }
    }

    private static func failure(_ id: String, _ place: String, _ problem: String) -> ChardevError {
        ChardevError(id: id, problem: "cannot listen at '\(place)': \(problem)")
    }
}

/// The file of a listening Unix socket: removed with this value, if it is still the same file.
final class SocketFile {
    let path: String
    private let device: UInt64
    private let inode: UInt64

    init(_ path: String) throws(Errno) {
        let status = try FileStatus(at: path, followLinks: false)
        self.path = path
        device = status.device
        inode = status.inode
    }

    deinit {
        guard let status = try? FileStatus(at: path, followLinks: false), status.device == device,
            status.inode == inode
        else { return }
        try? removeFile(path)
    }
}
