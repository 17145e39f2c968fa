/// A saved state that nothing can be made from.
package struct StateError: Error, CustomStringConvertible {
    let problem: String

    package init(_ problem: String) {
        self.problem = problem
    }

    package var description: String { problem }
}
