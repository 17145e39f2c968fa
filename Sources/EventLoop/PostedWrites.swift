import Host
import Synchronization

/// Port writes whose vCPU does not wait for the device, in the order in which they were made.
///
/// A bounded queue with many writers and one reader, without locks: each cell's turn number says who may use it.
@safe
final class PostedWrites: @unchecked Sendable {
    private struct Cell: ~Copyable {
        let turn: Atomic<UInt64>
        var value: UInt64 = 0
    }

    private static let capacity: UInt64 = 1024
    private let cells: UnsafeMutablePointer<Cell>
    private let tail = Atomic<UInt64>(0)
    private let head = Atomic<UInt64>(0)

    init() {
        unsafe cells = .allocate(capacity: Int(Self.capacity))
        for index in 0..<Self.capacity {
            unsafe (cells + Int(index)).initialize(to: Cell(turn: Atomic(index)))
        }
    }

    deinit {
        unsafe cells.deinitialize(count: Int(Self.capacity))
        unsafe cells.deallocate()
    }

    /// Adds a write from any thread; false when the queue is full.
    func push(port: UInt16, size: UInt8, value: UInt32) -> Bool {
        var ticket = tail.load(ordering: .relaxed)
        while true {
            let cell = unsafe cells + Int(ticket % Self.capacity)
            let turn = unsafe cell.pointee.turn.load(ordering: .acquiring)
            if turn == ticket {
                let (taken, seen) = tail.weakCompareExchange(
                    expected: ticket, desired: ticket &+ 1, ordering: .relaxed)
                if taken {
                    unsafe cell.pointee.value = UInt64(value) | UInt64(port) << 32 | UInt64(size) << 48
                    unsafe cell.pointee.turn.store(ticket &+ 1, ordering: .releasing)
                    return true
                }
                ticket = seen
            } else if turn < ticket {
                return false
            } else {
                ticket = tail.load(ordering: .relaxed)
            }
        }
    }

    /// Takes the oldest write; for the reader only.
    func pop() -> BusAccess? {
        let ticket = head.load(ordering: .relaxed)
        let cell = unsafe cells + Int(ticket % Self.capacity)
        guard unsafe cell.pointee.turn.load(ordering: .acquiring) == ticket &+ 1 else { return nil }
        let packed = unsafe cell.pointee.value
        unsafe cell.pointee.turn.store(ticket &+ Self.capacity, ordering: .releasing)
        head.store(ticket &+ 1, ordering: .relaxed)
        return BusAccess(
            space: .ports, isWrite: true, size: UInt8(truncatingIfNeeded: packed >> 48),
            address: packed >> 32 & 0xffff, value: packed & 0xffff_ffff)
    }

    /// Whether a write waits; for the reader only.
    var isEmpty: Bool {
        let ticket = head.load(ordering: .relaxed)
        return unsafe cells[Int(ticket % Self.capacity)].turn.load(ordering: .acquiring) != ticket &+ 1
    }
}
