import Glibc
import Host
import Synchronization
import TestSupport

/// Where a vhost-user front end connects: a thread lets it in, everything else happens on the caller's.
final class BackEndDoor: Sendable {
    let path = temporaryPath("vhost-fuzz")
    private let listener: Int32
    private let state: Mutex<State>

    private struct State {
        var client: Int32 = -1
        var greets = false
    }

    /// - Parameter firstReply: what a front end is sent at once that waits for it before it goes on.
    init(firstReply: [UInt8]) throws {
        listener = try Socket.listen(unix: path).release()
        state = Mutex(State())
        _ = try HostThread(name: "door") { [self] in run(firstReply) }
    }

    /// Whether those who connect are sent the first reply.
    var greets: Bool {
        get { state.withLock { $0.greets } }
        set { state.withLock { $0.greets = newValue } }
    }

    /// Sends the last who connected these bytes.
    func send(_ bytes: [UInt8]) {
        state.withLock {
            _ = unsafe Glibc.send($0.client, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
    }

    /// What has come of the last who connected. Descriptors that came with it are closed.
    func receive() -> [UInt8] {
        state.withLock { state in
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = unsafe recv(state.client, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return count > 0 ? Array(bytes.prefix(count)) : []
        }
    }

    /// Ends the last connection.
    func hangUp() {
        state.withLock { state in
            if state.client >= 0 { Glibc.close(state.client) }
            state.client = -1
        }
    }

    /// Ends the thread.
    func close() {
        try? removeFile(path)
        Glibc.shutdown(listener, Int32(SHUT_RDWR))
        hangUp()
    }

    private func run(_ firstReply: [UInt8]) {
        while case let client = accept(listener, nil, nil), client >= 0 {
            state.withLock { state in
                if state.client >= 0 { Glibc.close(state.client) }
                state.client = client
                if state.greets { _ = unsafe Glibc.send(client, firstReply, firstReply.count, Int32(MSG_NOSIGNAL)) }
            }
        }
        Glibc.close(listener)
    }
}
