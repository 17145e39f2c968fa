/// Why an image cannot be used.
package struct ImageError: Error, Equatable, CustomStringConvertible {
    /// The image's path, as the user gave it.
    package let path: String
    /// What is wrong and what would be right.
    package let problem: String

    package var description: String { "image '\(path)': \(problem)" }
}
