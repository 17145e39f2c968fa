import CHost
package import Host

/// The scatter-gather lists of a fixed number of messages, as `sendmsg` and `recvmsg` need them, at fixed addresses.
///
/// Its pages are only touched when used.
@safe
package final class MessageVectors {
    /// How many messages there are.
    package let count: Int
    /// How many segments each message may have.
    package let segments: Int
    private let headers: UnsafeMutablePointer<msghdr>
    private let vectors: IOVectors

    package init(count: Int, segments: Int) {
        self.count = max(count, 1)
        self.segments = max(segments, 1)
        unsafe headers = .allocate(capacity: self.count)
        unsafe headers.initialize(repeating: msghdr(), count: self.count)
        vectors = IOVectors(capacity: self.count * self.segments)
    }

    deinit {
        unsafe headers.deallocate()
    }

    /// Sets one segment of one message; false outside the table.
    @discardableResult
    package func set(_ segment: Int, of message: Int, _ slice: HostSlice) -> Bool {
        guard message >= 0, message < count, segment >= 0, segment < segments else { return false }
        return vectors.set(message * segments + segment, slice)
    }

    /// The address of a message with its first `used` segments, for the ring. The caller keeps the table alive until
    /// completion.
    func address(of message: Int, count used: Int) -> UInt {
        let index = max(0, min(message, count - 1))
        let first = vectors.address(at: index * segments)
        unsafe headers[index].msg_iov = UnsafeMutablePointer(bitPattern: first)
        unsafe headers[index].msg_iovlen = max(0, min(used, segments))
        return unsafe UInt(bitPattern: headers + index)
    }
}
