import CHost

/// Who waits for each operation in flight. `user_data` names a slot and its generation, so that a late completion
/// cannot reach whoever uses the slot next.
@safe
struct OperationSlots: ~Copyable {
    @safe
    struct Slot {
        var target: Unmanaged<RingClient>?
        var tag: UInt32 = 0
        /// The operation only waits for something: a timer, a poll, a read or write at a file's own position.
        var isWait = false
        var generation: UInt32 = 0
        var next: Int32 = 0
        /// A timeout's deadline must stay where it is until the kernel has read it.
        var deadline = __kernel_timespec()
    }

    static let capacity: Int32 = 8192
    private static let deadlineOffset = MemoryLayout<Slot>.offset(of: \.deadline) ?? 0
    private let slots: UnsafeMutablePointer<Slot>
    private var free: Int32 = -1
    // Slots from here on have never been used; their memory has not been touched.
    private var fresh: Int32 = 0

    init() {
        unsafe slots = .allocate(capacity: Int(Self.capacity))
    }

    deinit {
        unsafe slots.deallocate()
    }

    /// Whether a slot is free.
    var hasFree: Bool { free >= 0 || fresh < Self.capacity }

    /// Takes a slot for an operation of `target`; nil when all are taken.
    mutating func take(_ target: RingClient, _ tag: UInt32, _ operation: borrowing Operation) -> Int32? {
        var index = free
        if index >= 0 {
            free = unsafe slots[Int(index)].next
        } else {
            guard fresh < Self.capacity else { return nil }
            index = fresh
            fresh += 1
            unsafe (slots + Int(index)).initialize(to: Slot())
        }
        let slot = unsafe slots + Int(index)
        // The first operation in flight keeps the target alive, the last one lets it go.
        unsafe slot.pointee.target =
            target.operationsInFlight == 0 ? Unmanaged.passRetained(target) : Unmanaged.passUnretained(target)
        target.operationsInFlight += 1
        unsafe slot.pointee.tag = tag
        unsafe slot.pointee.isWait = operation.isWait
        let deadline = operation.deadline
        if deadline != 0 {
            unsafe slot.pointee.deadline.tv_sec = Int64(deadline / 1_000_000_000)
            unsafe slot.pointee.deadline.tv_nsec = Int64(deadline % 1_000_000_000)
        }
        return index
    }

    /// The `user_data` of the operation in a slot.
    func userData(_ index: Int32) -> UInt64 {
        unsafe UInt64(slots[Int(index)].generation) << 32 | UInt64(UInt32(bitPattern: index) + 1)
    }

    /// Where the deadline of the timeout in a slot is kept.
    func deadline(_ index: Int32) -> UnsafePointer<__kernel_timespec> {
        let slot = unsafe UnsafeRawPointer(slots + Int(index))
        return unsafe (slot + Self.deadlineOffset).assumingMemoryBound(to: __kernel_timespec.self)
    }

    /// Who waits for an operation that goes on; nil if nobody does.
    func find(_ userData: UInt64) -> (target: RingClient, tag: UInt32)? {
        guard let (index, held) = unsafe lookUp(userData) else { return nil }
        return unsafe (held.takeUnretainedValue(), slots[Int(index)].tag)
    }

    /// Whether an operation is one that waits.
    func isWait(_ userData: UInt64) -> Bool {
        guard let (index, _) = unsafe lookUp(userData) else { return false }
        return unsafe slots[Int(index)].isWait
    }

    @inline(__always)
    private func lookUp(_ userData: UInt64) -> (index: Int32, held: Unmanaged<RingClient>)? {
        let index = Int32(truncatingIfNeeded: userData & 0xffff_ffff) &- 1
        guard index >= 0, index < fresh else { return nil }
        let slot = unsafe slots + Int(index)
        guard unsafe slot.pointee.generation == UInt32(truncatingIfNeeded: userData >> 32),
            let held = unsafe slot.pointee.target
        else { return nil }
        return unsafe (index, held)
    }

    /// Gives back the slot of a completed operation; nil if it is not waited for.
    mutating func release(_ userData: UInt64) -> (target: RingClient, tag: UInt32)? {
        guard let (index, held) = unsafe lookUp(userData) else { return nil }
        let slot = unsafe slots + Int(index)
        let target = unsafe held.takeUnretainedValue()
        let tag = unsafe slot.pointee.tag
        unsafe slot.pointee.target = nil
        unsafe slot.pointee.generation &+= 1
        unsafe slot.pointee.next = free
        free = index
        target.operationsInFlight -= 1
        if target.operationsInFlight == 0 { unsafe held.release() }
        return (target, tag)
    }

    /// Calls `body` with the `user_data` of each operation of `target`; of one tag only, if given.
    func forEach(of target: RingClient, tag: UInt32? = nil, _ body: (UInt64) -> Void) {
        for index in 0..<fresh {
            let slot = unsafe slots + Int(index)
            guard let held = unsafe slot.pointee.target,
                unsafe held.toOpaque() == Unmanaged.passUnretained(target).toOpaque()
            else { continue }
            if let tag, unsafe slot.pointee.tag != tag { continue }
            body(userData(index))
        }
    }
}
