import Host
package import Options

/// A socket that clients can connect to, before anyone serves it.
///
/// It is made first of all things at start: from then on a client's connection succeeds and waits in the kernel until
/// `QMPServer` takes it. The file of a Unix socket is removed when this value ends, if it is still the same one. A
/// process that forks and leaves the work to its child must therefore end with `_exit`.
package struct QMPListener: ~Copyable {
    let socket: FileDescriptor
    /// Where it listens.
    package let endpoint: EndpointSpec
    /// The socket's file.
    private let file: FileIdentity?

    /// What a file is known by, whatever its path says later.
    private struct FileIdentity: Equatable {
        let device: UInt64
        let inode: UInt64

        init(at path: String) throws(Errno) {
            let status = try FileStatus(at: path, followLinks: false)
            device = status.device
            inode = status.inode
        }
    }

    /// Listens at `endpoint`. A Unix socket that an earlier process left behind is replaced; only this user may
    /// connect to the new one.
    package static func bind(_ endpoint: EndpointSpec) throws(QMPListenerError) -> QMPListener {
        if case .unix(let path) = endpoint, let status = try? FileStatus(at: path, followLinks: false),
            status.kind != .socket
        {
            throw QMPListenerError(endpoint: endpoint, problem: "a file that is no socket is there")
        }
        do throws(Errno) {
            switch endpoint {
            case .unix(let path):
                do throws(Errno) {
                    try removeFile(path)
                } catch {
                    guard error == .noEntry else { throw error }
                }
                let socket = try Socket.listen(unix: path)
                return QMPListener(socket: socket, endpoint: endpoint, file: try FileIdentity(at: path))
            case .tcp(let host, let port):
                let socket = try Socket.listen(ipv4: host.description, port: port)
                return QMPListener(socket: socket, endpoint: endpoint, file: nil)
            }
        } catch {
            throw QMPListenerError(endpoint: endpoint, problem: error.description)
        }
    }

    private init(socket: consuming FileDescriptor, endpoint: EndpointSpec, file: FileIdentity?) {
        self.socket = socket
        self.endpoint = endpoint
        self.file = file
    }

    deinit {
        guard let file, case .unix(let path) = endpoint, let found = try? FileIdentity(at: path), found == file else {
            return
        }
        try? removeFile(path)
    }
}

/// Why an address cannot be listened at.
package struct QMPListenerError: Error, Equatable, Sendable, CustomStringConvertible {
    package let endpoint: EndpointSpec
    package let problem: String

    /// Names the address as the option that gave it does.
    package var description: String { "cannot listen at \(endpoint): \(problem)" }
}
