import CHost

/// Which operations a reactor's ring lets through, whatever is asked of it later.
package struct OperationSet: Sendable {
    let opcodes: [io_uring_op]

    /// The kernel's numbers of them.
    var numbers: Set<UInt8> { Set(opcodes.map { UInt8(truncatingIfNeeded: $0.rawValue) }) }

    /// What disks and network cards do: they know no clients, and no memory but what they transfer.
    package static let ofDisksAndCards = OperationSet(opcodes: [
        IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
        IORING_OP_POLL_ADD, IORING_OP_RECVMSG, IORING_OP_SENDMSG, IORING_OP_TIMEOUT, IORING_OP_ASYNC_CANCEL,
    ])

    /// Every operation that can be made here.
    package static let all = OperationSet(
        opcodes: ofDisksAndCards.opcodes + [IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_MADVISE])
}
