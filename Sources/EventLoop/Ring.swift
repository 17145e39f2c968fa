import CHost
import Host

/// An io_uring that one thread owns: it lets through only the operations it was made for.
@safe
struct Ring: ~Copyable {
    private let ring: UnsafeMutablePointer<io_uring>

    /// How many files can be registered.
    static let registeredFiles: UInt32 = 64

    /// Sets up a ring with room for `entries` submissions at once. It belongs to the calling thread.
    init(entries: UInt32, letsThrough operations: OperationSet) throws(Errno) {
        unsafe ring = try Self.make(entries: entries, letsThrough: operations)
    }

    deinit {
        unsafe Self.free(ring)
    }

    /// Makes what the ring owns; on its own, since an initializer that throws late has `deinit` run as well.
    private static func make(
        entries: UInt32, letsThrough operations: OperationSet
    ) throws(Errno) -> UnsafeMutablePointer<io_uring> {
        let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
        unsafe ring.initialize(to: io_uring())
        var parameters = io_uring_params()
        parameters.flags =
            UInt32(IORING_SETUP_SINGLE_ISSUER) | UInt32(IORING_SETUP_DEFER_TASKRUN)
            | UInt32(IORING_SETUP_TASKRUN_FLAG) | UInt32(IORING_SETUP_R_DISABLED) | UInt32(IORING_SETUP_CQSIZE)
            | UInt32(IORING_SETUP_SUBMIT_ALL) | UInt32(IORING_SETUP_CLAMP)
        parameters.cq_entries = entries * 8
        let failure = unsafe io_uring_queue_init_params(entries, ring, &parameters)
        guard failure == 0 else {
            unsafe ring.deallocate()
            throw Errno(rawValue: -failure)
        }
        do {
            try unsafe prepare(ring, for: operations)
        } catch {
            unsafe free(ring)
            throw error
        }
        return unsafe ring
    }

    @unsafe
    private static func free(_ ring: UnsafeMutablePointer<io_uring>) {
        unsafe io_uring_queue_exit(ring)
        unsafe ring.deallocate()
    }

    /// Registers files and limits, then the restrictions, and only then lets the ring run.
    @unsafe
    private static func prepare(_ ring: UnsafeMutablePointer<io_uring>, for operations: OperationSet) throws(Errno) {
        var files = io_uring_rsrc_register()
        files.nr = registeredFiles
        files.flags = HOST_IORING_RSRC_REGISTER_SPARSE
        try unsafe register(ring, IORING_REGISTER_FILES2, &files, UInt32(MemoryLayout<io_uring_rsrc_register>.size))
        // Workers for what the kernel can only do blocking: of files, and of everything else.
        var workers: [UInt32] = [16, 4]
        try unsafe register(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, &workers, 2)

        var rules = operations.opcodes.map { opcode in
            var rule = io_uring_restriction()
            rule.opcode = UInt16(IORING_RESTRICTION_SQE_OP)
            rule.sqe_op = UInt8(opcode.rawValue)
            return rule
        }
        var flags = io_uring_restriction()
        flags.opcode = UInt16(IORING_RESTRICTION_SQE_FLAGS_ALLOWED)
        flags.sqe_flags = HOST_IOSQE_FIXED_FILE | HOST_IOSQE_CQE_SKIP_SUCCESS
        rules.append(flags)
        var update = io_uring_restriction()
        update.opcode = UInt16(IORING_RESTRICTION_REGISTER_OP)
        update.register_op = UInt8(IORING_REGISTER_FILES_UPDATE)
        rules.append(update)
        try unsafe register(ring, IORING_REGISTER_RESTRICTIONS, &rules, UInt32(rules.count))
        try unsafe register(ring, IORING_REGISTER_ENABLE_RINGS, nil, 0)
    }

    @unsafe
    private static func register(
        _ ring: UnsafeMutablePointer<io_uring>, _ opcode: Int, _ argument: UnsafeRawPointer?, _ count: UInt32
    ) throws(Errno) {
        let result = unsafe host_uring_register(ring.pointee.ring_fd, UInt32(opcode), argument, count)
        if result < 0 { throw Errno(rawValue: -result) }
    }

    /// Puts `descriptor` (or, with -1, nothing) into the table of registered files.
    func setRegisteredFile(_ index: UInt32, _ descriptor: Int32) throws(Errno) {
        var descriptor = descriptor
        try unsafe withUnsafePointer(to: &descriptor) { pointer throws(Errno) in
            var update = io_uring_files_update()
            update.offset = index
            update.fds = UInt64(UInt(bitPattern: pointer))
            try unsafe Self.register(ring, IORING_REGISTER_FILES_UPDATE, &update, 1)
        }
    }

    /// Queues one operation; false when the submission queue is full.
    func push(_ operation: borrowing Operation, userData: UInt64, deadline: UnsafePointer<__kernel_timespec>?) -> Bool {
        guard let entry = unsafe io_uring_get_sqe(ring) else { return false }
        unsafe entry.initialize(to: io_uring_sqe())
        unsafe entry.pointee.opcode = operation.opcode
        unsafe entry.pointee.flags = operation.flags
        unsafe entry.pointee.ioprio = operation.priority
        unsafe entry.pointee.fd = operation.file
        unsafe entry.pointee.off = operation.offset
        unsafe entry.pointee.addr = operation.address
        unsafe entry.pointee.len = operation.length
        unsafe entry.pointee.fsync_flags = operation.detail
        unsafe entry.pointee.user_data = userData
        if let deadline = unsafe deadline { unsafe entry.pointee.addr = UInt64(UInt(bitPattern: deadline)) }
        return true
    }

    /// Gives the kernel what is queued, and lets it finish what it can.
    ///
    /// - Returns: why `io_uring_enter` failed; what was queued stays so then.
    func submit() -> Errno? {
        Self.failure(unsafe io_uring_submit_and_get_events(ring))
    }

    /// Gives the kernel what is queued, and looks at nothing that has completed; answers as `submit`.
    func submitEarly() -> Errno? {
        Self.failure(unsafe io_uring_submit(ring))
    }

    /// Gives the kernel what is queued and sleeps until something completes; answers as `submit`.
    func submitAndWait() -> Errno? {
        Self.failure(unsafe io_uring_submit_and_wait(ring, 1))
    }

    private static func failure(_ result: Int32) -> Errno? {
        result < 0 ? Errno(rawValue: 0 &- result) : nil
    }

    /// Whether operations are queued that the kernel has not seen.
    var hasUnsubmitted: Bool { unsubmittedCount > 0 }

    /// How many operations are queued that the kernel has not seen.
    var unsubmittedCount: UInt32 { unsafe io_uring_sq_ready(ring) }

    /// Whether completions are there, or wait for this thread to enter the kernel.
    var hasWork: Bool { unsafe io_uring_cq_ready(ring) > 0 || host_uring_has_work(ring) != 0 }

    /// One completion.
    struct Completion {
        let userData: UInt64
        let result: Int32
        let flags: UInt32

        /// The operation goes on, and will complete again.
        var hasMore: Bool { flags & UInt32(IORING_CQE_F_MORE) != 0 }
    }

    /// Takes the oldest completion, if there is one, without entering the kernel.
    func pop() -> Completion? {
        guard let entry = unsafe host_uring_peek(ring) else { return nil }
        let completion = unsafe Completion(
            userData: entry.pointee.user_data, result: entry.pointee.res, flags: entry.pointee.flags)
        unsafe io_uring_cqe_seen(ring, entry)
        return completion
    }
}
