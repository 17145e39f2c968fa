/// A value that cannot be copied, where several have to share it or a list has to hold it.
package final class Box<Value: ~Copyable> {
    private var value: Value?

    /// Puts the value in.
    package init(_ value: consuming Value) {
        self.value = consume value
    }

    /// Takes the value out; nil after the first time.
    package func take() -> Value? { value.take() }

    /// Lends the value to `body`; nil if it has been taken out.
    package func read<Result: ~Copyable, Failure: Error>(
        _ body: (borrowing Value) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        switch value {
        case .some(let value): try body(value)
        case .none: nil
        }
    }
}
