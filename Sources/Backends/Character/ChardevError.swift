/// Why a character backend cannot be opened.
package struct ChardevError: Error, Equatable, CustomStringConvertible {
    /// The id under which the user knows it.
    package let id: String
    /// What is wrong, with which file or address, and what would be right.
    package let problem: String

    package var description: String { "chardev '\(id)': \(problem)" }
}
