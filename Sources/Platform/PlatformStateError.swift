/// A saved state that no device of this module can have.
package struct PlatformStateError: Error, CustomStringConvertible {
    let problem: String

    package init(_ problem: String) {
        self.problem = problem
    }

    package var description: String { problem }
}
