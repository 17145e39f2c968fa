/// The reason why a source of random bytes cannot be used.
package struct RandomSourceError: Error, Equatable, CustomStringConvertible {
    package let path: String
    package let problem: String

    package var description: String { "'\(path)': \(problem)" }
}
