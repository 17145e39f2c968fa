import CHost
package import Host

/// Bytes, and descriptors that go with them, for one `sendmsg` over a Unix socket.
@safe
package final class SentMessage {
    /// The most descriptors one message can carry.
    package static let maximumDescriptors = 8

    /// How many bytes are sent.
    package let count: Int
    private let buffer: IOBuffer
    private let message: UnsafeMutablePointer<host_message>

    /// - Parameter descriptors: at most `maximumDescriptors`, which stay open until the message was sent.
    /// - Throws: `EINVAL` for more descriptors.
    package init(_ bytes: [UInt8], descriptors: [Int32] = []) throws(Errno) {
        guard descriptors.count <= Self.maximumDescriptors else { throw .invalidArgument }
        count = bytes.count
        buffer = IOBuffer(capacity: bytes.count)
        buffer.all.copy(from: bytes)
        unsafe message = .allocate(capacity: 1)
        unsafe message.initialize(to: host_message())
        unsafe host_message_set(message, buffer.all.pointer, bytes.count, descriptors, descriptors.count)
    }

    deinit {
        unsafe message.deallocate()
    }

    /// Where the message's header is.
    var address: UInt { unsafe UInt(bitPattern: message) }
}
