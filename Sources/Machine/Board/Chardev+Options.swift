import Backends
import EventLoop
import Options

extension Chardev {
    /// Opens what a `-chardev` or `-serial` describes.
    static func open(_ backend: CharacterBackend, id: String, on reactor: Reactor) throws(ChardevError) -> Chardev {
        switch backend {
        case .stdio: try stdio(id: id, on: reactor)
        case .pty: try pty(id: id, on: reactor)
        case .file(let path): try file(id: id, path: path, on: reactor)
        case .log: try log(id: id, on: reactor)
        case .socket(let socket):
            switch (socket.endpoint, socket.isServer) {
            case (.unix(let path), true): try server(id: id, unix: path, on: reactor)
            case (.unix(let path), false): try client(id: id, unix: path, on: reactor)
            case (.tcp(let host, let port), true): try server(id: id, ipv4: "\(host)", port: port, on: reactor)
            case (.tcp(let host, let port), false): try client(id: id, ipv4: "\(host)", port: port, on: reactor)
            }
        }
    }
}
