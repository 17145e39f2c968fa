import CHost
package import Host

/// Where one `recvmsg` puts the bytes and the descriptors that came with them.
@safe
package final class ReceivedMessage {
    /// The most descriptors one message may carry; any more are closed.
    package static let maximumDescriptors = 16

    private let buffer: IOBuffer
    private let control: IOBuffer
    private let header: UnsafeMutablePointer<msghdr>
    private let vector: UnsafeMutablePointer<iovec>

    /// Receives into all of `buffer`.
    package init(buffer: IOBuffer) {
        self.buffer = buffer
        control = IOBuffer(capacity: 256)
        unsafe header = .allocate(capacity: 1)
        unsafe vector = .allocate(capacity: 1)
        unsafe header.initialize(to: msghdr())
        unsafe vector.initialize(to: iovec())
    }

    deinit {
        unsafe header.deallocate()
        unsafe vector.deallocate()
    }

    /// The header's address, made ready for one more message.
    var address: UInt {
        unsafe vector.pointee = unsafe iovec(iov_base: buffer.all.pointer, iov_len: buffer.capacity)
        unsafe header.pointee.msg_iov = unsafe vector
        unsafe header.pointee.msg_iovlen = 1
        unsafe header.pointee.msg_control = unsafe control.all.pointer
        unsafe header.pointee.msg_controllen = control.capacity
        unsafe header.pointee.msg_flags = 0
        return unsafe UInt(bitPattern: header)
    }

    /// The descriptors of the message that has just completed; the caller owns them, once.
    package func takeDescriptors() -> [Int32] {
        var found = [Int32](repeating: -1, count: Self.maximumDescriptors)
        let count = unsafe host_received_descriptors(header, &found, Int32(found.count))
        unsafe header.pointee.msg_controllen = 0
        return Array(found.prefix(Int(count)))
    }
}
