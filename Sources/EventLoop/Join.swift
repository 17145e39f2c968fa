/// Waits for a number of answers, and hands them over together. It belongs to one thread.
package final class Join<Value> {
    private var missing: Int
    private var values: [Value] = []
    private let done: ([Value]) -> Void

    /// - Parameters:
    ///   - count: the answers to wait for; with 0, `done` is called at once.
    ///   - done: gets the answers in the order in which they came.
    package init(_ count: Int, _ done: @escaping ([Value]) -> Void) {
        missing = count
        self.done = done
        if count <= 0 { done([]) }
    }

    /// Notes one answer; what comes after the last is dropped.
    package func add(_ value: Value) {
        guard missing > 0 else { return }
        values.append(value)
        missing -= 1
        if missing == 0 { done(values) }
    }
}

extension Join<Void> {
    /// Waits for `count` steps.
    package convenience init(_ count: Int, _ done: @escaping () -> Void) {
        self.init(count) { (_: [Void]) in done() }
    }

    /// Notes one step.
    package func step() { add(()) }
}
