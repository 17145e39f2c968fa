import CHost
import Glibc
import Synchronization

/// A 32-bit word that threads change atomically and sleep on (`futex(2)`, private to this process).
@safe
package final class Futex: @unchecked Sendable {
    private let word: UnsafeMutablePointer<UInt32>

    package init(_ value: UInt32) {
        unsafe word = .allocate(capacity: 1)
        unsafe word.initialize(to: value)
    }

    deinit {
        unsafe word.deallocate()
    }

    private var atomic: UnsafeMutablePointer<Atomic<UInt32>> {
        unsafe UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// Loads the word; what its writer stored before is visible.
    package func load() -> UInt32 {
        unsafe atomic.pointee.load(ordering: .acquiring)
    }

    /// Stores the word; what was stored before is visible to its readers.
    package func store(_ value: UInt32) {
        unsafe atomic.pointee.store(value, ordering: .releasing)
    }

    /// Stores `value` and answers what was there.
    package func exchange(_ value: UInt32) -> UInt32 {
        unsafe atomic.pointee.exchange(value, ordering: .sequentiallyConsistent)
    }

    /// Stores `value` if the word is `expected`; answers whether it was.
    package func compareExchange(expected: UInt32, _ value: UInt32) -> Bool {
        unsafe atomic.pointee.compareExchange(
            expected: expected, desired: value, ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// Adds to the word and answers the new value.
    package func add(_ value: UInt32) -> UInt32 {
        unsafe atomic.pointee.wrappingAdd(value, ordering: .sequentiallyConsistent).newValue
    }

    /// Sleeps as long as the word is `value`; may also return without cause.
    package func wait(while value: UInt32) {
        _ = unsafe host_futex(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, nil)
    }

    /// Sleeps as long as the word is `value`, at most `nanoseconds`.
    package func wait(while value: UInt32, atMost nanoseconds: UInt64) {
        var time = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        _ = unsafe host_futex(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, &time)
    }

    /// Wakes sleepers.
    package func wake(_ count: UInt32 = 1) {
        _ = unsafe host_futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, min(count, UInt32(Int32.max)), nil)
    }
}
