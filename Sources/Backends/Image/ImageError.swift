/// Why an image cannot be used.
package struct ImageError: Error, Equatable, CustomStringConvertible {
    /// The image's path, as the user gave it.
    package let path: String
    /// What is wrong and what would be right.
    package let problem: String
    /// Whether the host does not let this process open the image in any way.
    package var isDenied = false

    package var description: String { "image '\(path)': \(problem)" }
}
