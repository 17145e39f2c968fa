import Synchronization

/// A value on its way from one thread to another: whoever takes it is its only owner from then on.
package final class SendOnce<Value>: @unchecked Sendable {
    private let content: Mutex<Held>

    private struct Held: @unchecked Sendable {
        var value: Value?
    }

    /// Puts the value in; the caller must not use it any more.
    package init(_ value: Value) {
        content = Mutex(Held(value: value))
    }

    /// Takes the value out, once.
    package func take() -> Value? {
        content.withLock { held in
            let value = held.value
            held.value = nil
            return Held(value: value)
        }.value
    }
}
