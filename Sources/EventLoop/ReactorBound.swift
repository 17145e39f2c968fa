/// A value that belongs to one reactor's thread, for messages that carry it there.
///
/// Other threads may hold and pass it on, but only its own reactor gets at what is inside.
package struct ReactorBound<Value>: @unchecked Sendable {
    private let content: Value
    private let owner: ObjectIdentifier

    package init(_ content: Value, to reactor: Reactor) {
        self.content = content
        owner = ObjectIdentifier(reactor)
    }

    /// The value, on its own reactor; nil on any other.
    package func value(on reactor: Reactor) -> Value? {
        ObjectIdentifier(reactor) == owner ? content : nil
    }
}
