package import Host
package import Options

/// A QMP socket that clients can connect to before `QMPServer` serves them.
///
/// It is bound first at start: from then on connections succeed and wait in the kernel.
package struct QMPListener: ~Copyable {
    let socket: ListeningSocket

    /// Listens at `endpoint`. A Unix socket is for this user only; one on which no process listens is replaced.
    package static func bind(_ endpoint: EndpointSpec) throws(QMPListenerError) -> QMPListener {
        do throws(ListeningError) {
            switch endpoint {
            case .unix(let path): return QMPListener(socket: try ListeningSocket.unix(path))
            case .tcp(let host, let port):
                return QMPListener(socket: try ListeningSocket.tcp(host.description, port))
            }
        } catch {
            throw QMPListenerError(endpoint: endpoint, cause: error)
        }
    }

    private init(socket: consuming ListeningSocket) {
        self.socket = socket
    }
}

/// Why QMP cannot listen at an address.
package struct QMPListenerError: Error, Equatable, Sendable, CustomStringConvertible {
    package let endpoint: EndpointSpec
    package let cause: ListeningError

    /// Names the address as the option that gave it does.
    package var description: String { "cannot listen at \(endpoint): \(cause)" }
}
