import Glibc
import Host
import Synchronization

/// A vhost-user back end that serves no queue, and answers as a test has it: well, wrongly, or not at all.
///
/// It runs on a thread of its own and takes one connection after the other, until `stop`.
package final class FakeBackEnd: Sendable {
    /// A message of the front end.
    package struct Message: Sendable {
        package let request: UInt32
        package let flags: UInt32
        package let payload: [UInt8]

        /// A 64-bit word of the payload.
        package func word(_ index: Int) -> UInt64 {
            payload.dropFirst(8 * index).prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// What the back end does about a message.
    package enum Answer: Sendable {
        /// What the protocol says.
        case proper
        /// These bytes.
        case bytes([UInt8])
        /// Nothing.
        case none
        /// Ends the connection.
        case close
    }

    /// Requests by their names in the protocol.
    package enum Request {
        package static let getFeatures: UInt32 = 1
        package static let setFeatures: UInt32 = 2
        package static let setOwner: UInt32 = 3
        package static let setMemoryTable: UInt32 = 5
        package static let setRingSize: UInt32 = 8
        package static let setRingAddress: UInt32 = 9
        package static let setRingBase: UInt32 = 10
        package static let getRingBase: UInt32 = 11
        package static let setRingKick: UInt32 = 12
        package static let setRingCall: UInt32 = 13
        package static let getProtocolFeatures: UInt32 = 15
        package static let setProtocolFeatures: UInt32 = 16
        package static let getQueueCount: UInt32 = 17
        package static let setRingEnable: UInt32 = 18
    }

    package let path: String
    private let state: Mutex<State>
    private let listener: Int32

    private struct State {
        var behave: @Sendable (Message) -> Answer = { _ in .proper }
        var features: UInt64
        var extensions: UInt64
        var messages: [Message] = []
        var connections = 0
        var client: Int32 = -1
        var wake: @Sendable () -> Void = {}
    }

    /// - Parameters:
    ///   - features: the virtio features it offers; bit 30 says that it has extensions.
    ///   - extensions: the protocol features it offers.
    package init(features: UInt64 = 1 << 32 | 1 << 30 | 3 << 28, extensions: UInt64 = 1 | 1 << 3) throws {
        path = "/tmp/apus-test-back-end-" + randomBytes(8).map { String($0, radix: 16) }.joined()
        state = Mutex(State(features: features, extensions: extensions))
        listener = try Socket.listen(unix: path).release()
        _ = try HostThread(name: "back end") { [self] in run() }
    }

    /// How it answers from now on.
    package func behave(_ behave: @escaping @Sendable (Message) -> Answer) {
        state.withLock { $0.behave = behave }
    }

    /// Calls `wake` whenever something has happened that a test may wait for.
    package func onChange(_ wake: @escaping @Sendable () -> Void) {
        state.withLock { $0.wake = wake }
    }

    /// The features it offers from now on.
    package func offer(_ features: UInt64, extensions: UInt64 = 1 | 1 << 3) {
        state.withLock { ($0.features, $0.extensions) = (features, extensions) }
    }

    /// Takes what it was told since the last call.
    package func takeMessages() -> [Message] {
        state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// How many connections there have been.
    package var connections: Int { state.withLock { $0.connections } }

    /// Ends the connection, and waits for another one.
    package func hangUp() {
        state.withLock { _ = shutdown($0.client, Int32(SHUT_RDWR)) }
    }

    /// Sends bytes that nobody asked for.
    package func send(_ bytes: [UInt8]) {
        state.withLock { _ = unsafe Glibc.send($0.client, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Ends the thread.
    package func stop() {
        try? removeFile(path)
        shutdown(listener, Int32(SHUT_RDWR))
        hangUp()
    }

    // MARK: The thread

    private func run() {
        while true {
            let number = accept(listener, nil, nil)
            guard number >= 0 else { break }
            let client = FileDescriptor(owning: number)
            state.withLock {
                $0.client = number
                $0.connections += 1
            }
            serve(client)
            state.withLock { $0.client = -1 }
        }
        close(listener)
    }

    private func serve(_ client: borrowing FileDescriptor) {
        while let header = read(client, 12) {
            let size = Int(Self.word(header, 8))
            guard let payload = read(client, size) else { return }
            let message = Message(request: Self.word(header, 0), flags: Self.word(header, 4), payload: payload)
            let (behave, wake) = state.withLock {
                $0.messages.append(message)
                return ($0.behave, $0.wake)
            }
            wake()
            switch behave(message) {
            case .proper: if let reply = properReply(message) { write(client, reply) }
            case .bytes(let bytes): write(client, bytes)
            case .none: break
            case .close: return
            }
        }
    }

    /// What a good back end answers.
    private func properReply(_ message: Message) -> [UInt8]? {
        let (features, extensions) = state.withLock { ($0.features, $0.extensions) }
        switch message.request {
        case Request.getFeatures: return Self.reply(to: message, features)
        case Request.getProtocolFeatures: return Self.reply(to: message, extensions)
        case Request.getQueueCount: return Self.reply(to: message, 8)
        case Request.getRingBase: return Self.reply(to: message, message.word(0) & 0xffff_ffff | 1 << 32)
        default: return message.flags & 8 != 0 ? Self.reply(to: message, 0) : nil
        }
    }

    /// A reply with any parts.
    package static func reply(
        to message: Message, _ value: UInt64, flags: UInt32 = 5, size: UInt32 = 8, request: UInt32? = nil
    ) -> [UInt8] {
        bytes(request ?? message.request) + bytes(flags) + bytes(size) + bytes(value)
    }

    private static func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes.dropFirst(offset).prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// The front end may have gone.
    private func write(_ client: borrowing FileDescriptor, _ bytes: [UInt8]) {
        _ = unsafe Glibc.send(client.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    private func read(_ client: borrowing FileDescriptor, _ count: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = try? client.read(count: count - bytes.count), !more.isEmpty else { return nil }
            bytes += more
        }
        return bytes
    }
}
