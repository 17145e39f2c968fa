import Host
import Synchronization

/// A value on its way from one thread to another: whoever takes it is its only owner from then on.
package final class SendOnce<Value>: @unchecked Sendable {
    private let content: Mutex<Held>
    private let isThere: Futex

    private struct Held: @unchecked Sendable {
        var value: Value?
    }

    /// Makes one without a value, for `put`.
    package init() {
        content = Mutex(Held(value: nil))
        isThere = Futex(0)
    }

    /// Puts the value in; the caller must not use it any more.
    package init(_ value: Value) {
        content = Mutex(Held(value: value))
        isThere = Futex(1)
    }

    /// Puts the value in, unless one was put in before; the caller must not use it any more.
    package func put(_ value: Value) {
        let value = Held(value: value)
        content.withLock { held in
            guard isThere.load() == 0 else { return }
            held = value
            isThere.store(1)
        }
        isThere.wake()
    }

    /// Takes the value out; nil if it is not there, or no longer.
    package func take() -> Value? {
        content.withLock { held in
            let value = held.value
            held.value = nil
            return Held(value: value)
        }.value
    }

    /// Sleeps until a value has been put in, and takes it out; nil if it has been taken. Only where a thread may block.
    package func wait() -> Value? {
        while isThere.load() == 0 { isThere.wait(while: 0) }
        return take()
    }
}
