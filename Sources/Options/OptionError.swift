/// What is wrong with one option, or with one argument of a QMP command, and what would be right.
///
/// Options never throws anything else. The text is always a single printable line of bounded length, however strange
/// the input was.
package struct OptionError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Where it was found, as the user wrote it: `-smp`, `-device virtio-blk-device`, `blockdev-add`.
    package let option: String
    /// The text that cannot be accepted, unshortened; nil when something is missing.
    package let offending: String?
    /// What is wrong, as a clause that already quotes the offending text.
    package let problem: String
    /// What would be right, where the problem does not say it by itself.
    package let remedy: String?

    package init(option: String, offending: String? = nil, problem: String, remedy: String? = nil) {
        self.option = option
        self.offending = offending
        self.problem = problem
        self.remedy = remedy
    }

    /// The error without the program's name, as QMP reports it: `-smp: "0" is not a number of CPUs from 1 to 254`.
    package var message: String {
        guard let remedy else { return "\(option): \(problem)" }
        return "\(option): \(problem); \(remedy)"
    }

    /// The line for standard error: the message after the program's name.
    package var description: String { "apus: \(message)" }

    /// An error about an option, device or command that StratoVirt has and Apus will have.
    static func notSupportedYet(_ option: String, _ text: String) -> OptionError {
        OptionError(option: option, offending: text, problem: "\(quoted(text)) is not supported yet")
    }
}

/// The text in double quotes, fit for one line of a message: control characters become `?`, and what is longer than
/// 80 characters is cut and marked by three dots.
func quoted(_ text: String) -> String {
    var shown = ""
    var count = 0
    for scalar in text.unicodeScalars {
        if count == 80 {
            shown += "..."
            break
        }
        let isControl = scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
        shown.unicodeScalars.append(isControl || scalar.properties.isLineBreak ? "?" : scalar)
        count += 1
    }
    return "\"\(shown)\""
}

extension Unicode.Scalar.Properties {
    /// Whether a terminal may start a new line here although the scalar is no control character.
    fileprivate var isLineBreak: Bool { generalCategory == .lineSeparator || generalCategory == .paragraphSeparator }
}

/// Words as a sentence lists them: `a`, `a or b`, `a, b or c`.
func alternatives(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return Array(words.dropLast()).joined(separator: ", ") + " or " + last
}
