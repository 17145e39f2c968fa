extension JSONReader {
    /// How the reader passes over the rest of a value that was in error.
    ///
    /// It ends behind the bracket that closes the broken value, or at the next line, whichever comes first; a client
    /// that ends its commands with a line feed is therefore always understood again from its next line on, and one
    /// that sends none is after any error that leaves the brackets in balance. Text outside any value is skipped to
    /// the end of the line, so that no part of it is ever taken for a command. 0xFF ends it at once.
    struct Recovery {
        /// Brackets still open; nil outside any value.
        var depth: Int?
        var inString: Bool
        var escaped = false
    }

    /// Whether an object begins a line where none may: the value before it was cut short, and this is a new one.
    func beginsAfresh(_ byte: UInt8, after error: JSONError) -> Bool {
        guard case .none = token, case .expected = error.reason else { return false }
        return byte == .openBrace && atLineStart && !stack.isEmpty
    }

    /// Starts to skip, at the byte that was in error.
    mutating func recover(from byte: UInt8) {
        var inString = false
        if case .string = token { inString = true }
        let innermost = stack.last
        recovery = Recovery(depth: stack.isEmpty ? nil : stack.count, inString: inString)
        reset()
        // A bracket that closes what isn't open doesn't count.
        if !inString, byte == .closeBrace || byte == .closeBracket, innermost?.isObject != (byte == .closeBrace) {
            return
        }
        skip(byte)
    }

    mutating func skip(_ byte: UInt8) {
        guard var state = recovery else { return }
        if byte == .newline || byte == 0xFF {
            recovery = nil
            return
        }
        if state.inString {
            if state.escaped {
                state.escaped = false
            } else if byte == .backslash {
                state.escaped = true
            } else if byte == .quote {
                state.inString = false
            }
        } else if byte == .quote {
            state.inString = true
        } else if let depth = state.depth {
            if byte == .openBrace || byte == .openBracket {
                state.depth = depth &+ 1
            } else if byte == .closeBrace || byte == .closeBracket {
                state.depth = depth &- 1
            }
        }
        recovery = state.depth == 0 ? nil : state
    }
}
