import CHost
package import Host

/// The file of an operation: a descriptor, or an entry of the reactor's registered files.
package struct IOFile: Sendable, Equatable {
    let index: Int32
    let isRegistered: Bool

    /// A file by its descriptor, which must stay open until the operation has completed.
    package init(descriptor: Int32) {
        index = descriptor
        isRegistered = false
    }

    init(registered index: Int32) {
        self.index = index
        isRegistered = true
    }
}

/// One piece of work for the kernel, as it goes into the ring.
///
/// The memory it names belongs to whoever submits it and must stay valid until it has completed.
package struct Operation {
    var opcode: UInt8
    var file: Int32 = -1
    var flags: UInt8 = 0
    var priority: UInt16 = 0
    var offset: UInt64 = 0
    var address: UInt64 = 0
    var length: UInt32 = 0
    var detail: UInt32 = 0
    /// Nanoseconds of `CLOCK_MONOTONIC`; of a timeout only.
    var deadline: UInt64 = 0

    private init(_ opcode: io_uring_op, _ file: IOFile? = nil) {
        self.opcode = UInt8(truncatingIfNeeded: opcode.rawValue)
        if let file {
            self.file = file.index
            if file.isRegistered { flags = HOST_IOSQE_FIXED_FILE }
        }
    }

    private mutating func transfer(_ slice: HostSlice, _ offset: UInt64) {
        unsafe address = UInt64(UInt(bitPattern: slice.pointer))
        length = UInt32(clamping: slice.count)
        self.offset = offset
    }

    /// The file's own position, for pipes, terminals, sockets and eventfds.
    package static let currentPosition = UInt64.max

    /// Reads into `slice`.
    package static func read(_ file: IOFile, _ slice: HostSlice, at offset: UInt64) -> Operation {
        var operation = Operation(IORING_OP_READ, file)
        operation.transfer(slice, offset)
        return operation
    }

    /// Writes from `slice`.
    package static func write(_ file: IOFile, _ slice: HostSlice, at offset: UInt64) -> Operation {
        var operation = Operation(IORING_OP_WRITE, file)
        operation.transfer(slice, offset)
        return operation
    }

    /// Reads into the entries of `vectors` in `range`.
    package static func readv(
        _ file: IOFile, _ vectors: IOVectors, _ range: Range<Int>, at offset: UInt64
    ) -> Operation {
        vectored(IORING_OP_READV, file, vectors, range, offset)
    }

    /// Writes from the entries of `vectors` in `range`.
    package static func writev(
        _ file: IOFile, _ vectors: IOVectors, _ range: Range<Int>, at offset: UInt64
    ) -> Operation {
        vectored(IORING_OP_WRITEV, file, vectors, range, offset)
    }

    private static func vectored(
        _ opcode: io_uring_op, _ file: IOFile, _ vectors: IOVectors, _ range: Range<Int>, _ offset: UInt64
    ) -> Operation {
        var operation = Operation(opcode, file)
        operation.address = UInt64(vectors.address(at: range.lowerBound))
        operation.length = UInt32(clamping: range.count)
        operation.offset = offset
        return operation
    }

    /// Brings written data to stable storage, with no more metadata than that needs.
    package static func dataSync(_ file: IOFile) -> Operation {
        var operation = Operation(IORING_OP_FSYNC, file)
        operation.detail = UInt32(IORING_FSYNC_DATASYNC)
        return operation
    }

    /// How `allocate` changes a range of a file.
    package struct AllocateMode: OptionSet, Sendable {
        package let rawValue: Int32

        package init(rawValue: Int32) {
            self.rawValue = rawValue
        }

        package static let keepSize = AllocateMode(rawValue: FALLOC_FL_KEEP_SIZE)
        package static let punchHole = AllocateMode(rawValue: FALLOC_FL_PUNCH_HOLE)
        package static let zeroRange = AllocateMode(rawValue: FALLOC_FL_ZERO_RANGE)
    }

    /// `fallocate`: frees or zeroes `count` bytes at `offset`.
    package static func allocate(
        _ file: IOFile, _ mode: AllocateMode, at offset: UInt64, count: UInt64
    ) -> Operation {
        var operation = Operation(IORING_OP_FALLOCATE, file)
        operation.offset = offset
        operation.address = count
        operation.length = UInt32(bitPattern: mode.rawValue)
        return operation
    }

    /// `madvise`: tells the kernel about the use of `memory`, whole pages of less than 4 GiB. It runs in a thread of the
    /// kernel's, since it may block.
    package static func advise(_ memory: HostSlice, _ advice: MemoryAdvice) -> Operation {
        var operation = Operation(IORING_OP_MADVISE)
        operation.transfer(memory, 0)
        operation.detail = UInt32(bitPattern: advice.rawValue)
        return operation
    }

    /// Completes once when the file is ready for one of `events` (`POLLIN` and so on).
    package static func poll(_ file: IOFile, _ events: Int16) -> Operation {
        var operation = Operation(IORING_OP_POLL_ADD, file)
        operation.detail = UInt32(UInt16(bitPattern: events))
        return operation
    }

    /// Completes each time the file becomes ready for one of `events`, and at once if it is, until it is cancelled or the
    /// kernel ends it: `RingClient.multishotEvent` hears of it, and `complete` of the end.
    package static func watch(_ file: IOFile, _ events: Int16) -> Operation {
        var operation = poll(file, events)
        operation.length = UInt32(IORING_POLL_ADD_MULTI)
        return operation
    }

    /// Accepts one connection; the result is its descriptor, closed on exec.
    package static func accept(_ listener: IOFile) -> Operation {
        var operation = Operation(IORING_OP_ACCEPT, listener)
        operation.detail = UInt32(SOCK_CLOEXEC.rawValue)
        return operation
    }

    /// Receives what has arrived; 0 when the peer has ended its direction.
    package static func receive(_ socket: IOFile, _ slice: HostSlice) -> Operation {
        var operation = Operation(IORING_OP_RECV, socket)
        operation.transfer(slice, 0)
        return operation
    }

    /// Sends some or all of `slice`; a peer that is gone is an error, not a signal.
    package static func send(_ socket: IOFile, _ slice: HostSlice) -> Operation {
        var operation = Operation(IORING_OP_SEND, socket)
        operation.transfer(slice, 0)
        operation.detail = UInt32(MSG_NOSIGNAL)
        return operation
    }

    /// Receives data and descriptors into `message`.
    package static func receive(_ socket: IOFile, _ message: ReceivedMessage) -> Operation {
        .message(IORING_OP_RECVMSG, socket, message.address, Int32(MSG_CMSG_CLOEXEC))
    }

    /// Receives what has arrived into the first `count` segments of a message; `EAGAIN` if nothing has.
    package static func receiveNow(
        _ socket: IOFile, _ vectors: MessageVectors, _ message: Int, count: Int
    ) -> Operation {
        .message(IORING_OP_RECVMSG, socket, vectors.address(of: message, count: count), Int32(MSG_DONTWAIT))
    }

    /// Sends what fits now of the first `count` segments of a message; `EAGAIN` if nothing does.
    package static func sendNow(
        _ socket: IOFile, _ vectors: MessageVectors, _ message: Int, count: Int
    ) -> Operation {
        .message(
            IORING_OP_SENDMSG, socket, vectors.address(of: message, count: count), Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
    }

    /// Receives what has arrived, or with `peeking` a copy of it; `EAGAIN` if nothing has.
    package static func receiveNow(_ socket: IOFile, _ slice: HostSlice, peeking: Bool = false) -> Operation {
        var operation = receive(socket, slice)
        operation.detail = UInt32(MSG_DONTWAIT | (peeking ? MSG_PEEK : 0))
        return operation
    }

    /// Sends what fits now of `slice`; `EAGAIN` if nothing does.
    package static func sendNow(_ socket: IOFile, _ slice: HostSlice) -> Operation {
        var operation = send(socket, slice)
        operation.detail |= UInt32(MSG_DONTWAIT)
        return operation
    }

    /// Sends a message with its descriptors; a peer that is gone is an error, not a signal.
    package static func send(_ socket: IOFile, _ message: SentMessage) -> Operation {
        .message(IORING_OP_SENDMSG, socket, message.address, Int32(MSG_NOSIGNAL))
    }

    /// - Parameter address: of a `msghdr`.
    private static func message(
        _ opcode: io_uring_op, _ socket: IOFile, _ address: UInt, _ flags: Int32
    ) -> Operation {
        var operation = Operation(opcode, socket)
        operation.address = UInt64(address)
        operation.length = 1
        operation.detail = UInt32(bitPattern: flags)
        return operation
    }

    /// Completes with `ETIME` when the monotonic clock reaches `deadline`, in nanoseconds.
    package static func timeout(at deadline: UInt64) -> Operation {
        var operation = Operation(IORING_OP_TIMEOUT)
        operation.deadline = deadline
        operation.length = 1
        operation.detail = UInt32(IORING_TIMEOUT_ABS)
        return operation
    }

    /// Whether the operation only waits: a timer, a poll, or a transfer at a file's own position.
    var isWait: Bool {
        switch opcode {
        case UInt8(truncatingIfNeeded: IORING_OP_TIMEOUT.rawValue),
            UInt8(truncatingIfNeeded: IORING_OP_POLL_ADD.rawValue):
            true
        case UInt8(truncatingIfNeeded: IORING_OP_READ.rawValue), UInt8(truncatingIfNeeded: IORING_OP_WRITE.rawValue):
            offset == Self.currentPosition
        default: false
        }
    }

    /// Writes an eventfd, to raise an interrupt or to notify a back end; its success is not reported.
    static func signal(_ descriptor: Int32, _ one: HostSlice) -> Operation {
        var operation = write(IOFile(descriptor: descriptor), one, at: currentPosition)
        operation.flags |= HOST_IOSQE_CQE_SKIP_SUCCESS
        return operation
    }

    /// Cancels the operation with this `user_data`; a timeout too.
    static func cancel(_ userData: UInt64) -> Operation {
        var operation = Operation(IORING_OP_ASYNC_CANCEL)
        operation.address = userData
        return operation
    }
}
