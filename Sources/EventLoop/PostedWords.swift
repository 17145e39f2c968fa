import Host
import Synchronization

/// Words whose senders do not wait for the reactor, in the order in which they were posted.
///
/// A bounded queue with many writers and one reader, without locks: each cell's turn number says who may use it.
@safe
final class PostedWords: @unchecked Sendable {
    private struct Cell: ~Copyable {
        let turn: Atomic<UInt64>
        var word: UInt64 = 0
    }

    /// The most words that wait.
    static let capacity: UInt64 = 1024
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

    /// Adds a word from any thread; false when the queue is full.
    func push(_ word: UInt64) -> Bool {
        var ticket = tail.load(ordering: .relaxed)
        while true {
            let cell = unsafe cells + Int(ticket % Self.capacity)
            let turn = unsafe cell.pointee.turn.load(ordering: .acquiring)
            if turn == ticket {
                let (taken, seen) = tail.weakCompareExchange(
                    expected: ticket, desired: ticket &+ 1, ordering: .relaxed)
                if taken {
                    unsafe cell.pointee.word = word
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

    /// Takes the oldest word; for the reader only.
    func pop() -> UInt64? {
        let ticket = head.load(ordering: .relaxed)
        let cell = unsafe cells + Int(ticket % Self.capacity)
        guard unsafe cell.pointee.turn.load(ordering: .acquiring) == ticket &+ 1 else { return nil }
        let word = unsafe cell.pointee.word
        unsafe cell.pointee.turn.store(ticket &+ Self.capacity, ordering: .releasing)
        head.store(ticket &+ 1, ordering: .relaxed)
        return word
    }

    /// Whether a word waits; for the reader only.
    var isEmpty: Bool {
        let ticket = head.load(ordering: .relaxed)
        return unsafe cells[Int(ticket % Self.capacity)].turn.load(ordering: .acquiring) != ticket &+ 1
    }
}
