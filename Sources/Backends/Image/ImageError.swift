/// The reason why an image cannot be used.
package struct ImageError: Error, Equatable, CustomStringConvertible {
    /// The image's path, as the user gave it.
    package let path: String
    /// The failure and its remedy.
    package let problem: String
    /// Whether the host denies this process any access to the image.
    package var isDenied = false

    package var description: String { "image '\(path)': \(problem)" }
}
