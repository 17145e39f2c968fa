/// Why a piece of input is not a JSON value, and where.
package struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was wrong.
    package enum Reason: Equatable, Sendable {
        /// A byte that cannot stand where it does; the text names what could.
        case expected(String)
        /// A control character (below 0x20) unescaped inside a string.
        case controlCharacter
        /// A string that is not UTF-8.
        case invalidUTF8
        /// A backslash followed by nothing JSON knows.
        case invalidEscape
        /// Half of a UTF-16 surrogate pair.
        case loneSurrogate
        /// A number not written as RFC 8259 section 6 says, or overly long.
        case invalidNumber
        /// A number too large for a Double.
        case numberOutOfRange
        /// A member name that its object already has.
        case duplicateName(String)
        /// More nested arrays and objects than the limit.
        case tooDeep(limit: Int)
        /// More bytes in one value than the limit.
        case tooLong(limit: Int)
        /// The input ended within a value.
        case unfinished
    }

    package let reason: Reason
    /// The place of the offending byte, counted from 1 at the value's first byte.
    package let position: Int

    package var description: String {
        "invalid JSON at byte \(position): \(explanation)"
    }

    private var explanation: String {
        switch reason {
        case .expected(let what): "expected \(what)"
        case .controlCharacter: "a control character in a string must be escaped"
        case .invalidUTF8: "a string is not valid UTF-8"
        case .invalidEscape: "unknown escape in a string"
        case .loneSurrogate: "half of a surrogate pair in a string"
        case .invalidNumber: "malformed number"
        case .numberOutOfRange: "the number is too large"
        case .duplicateName(let name): "member '\(name)' given twice"
        case .tooDeep(let limit): "nested deeper than \(limit) levels"
        case .tooLong(let limit): "the value is longer than \(limit) bytes"
        case .unfinished: "the value is not complete"
        }
    }
}

/// What the reader accepts at most.
package struct JSONLimits: Sendable {
    /// Bytes of one value, blanks inside it included.
    package var bytes: Int
    /// Arrays and objects within each other.
    package var depth: Int

    package init(bytes: Int = 64 << 10, depth: Int = 64) {
        self.bytes = bytes
        self.depth = depth
    }
}
