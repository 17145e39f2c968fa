extension JSONReader {
    /// Where a string stands in an escape sequence.
    enum Escape {
        case none
        case backslash
        case unicode(digits: Int, value: UInt16)
    }

    /// The three names that are values.
    enum Literal {
        case `true`
        case `false`
        case null

        init?(firstByte: UInt8) {
            switch firstByte {
            case UInt8(ascii: "t"): self = .true
            case UInt8(ascii: "f"): self = .false
            case UInt8(ascii: "n"): self = .null
            default: return nil
            }
        }

        var text: StaticString {
            switch self {
            case .true: "true"
            case .false: "false"
            case .null: "null"
            }
        }

        var value: JSONValue {
            switch self {
            case .true: .bool(true)
            case .false: .bool(false)
            case .null: .null
            }
        }
    }

    mutating func continueLiteral(_ byte: UInt8, _ literal: Literal, _ matched: Int) throws(JSONError) {
        let text = literal.text.description.utf8
        guard text.dropFirst(matched).first == byte else { throw failure(.expected("'\(literal.text)'")) }
        if matched + 1 == text.count {
            attach(literal.value)
        } else {
            token = .literal(literal, matched: matched + 1)
        }
    }

    // MARK: Strings

    mutating func continueString(_ byte: UInt8, _ escape: Escape) throws(JSONError) {
        switch escape {
        case .none:
            if byte == .backslash {
                token = .string(.backslash)
                return
            }
            guard highSurrogate == nil else { throw failure(.loneSurrogate) }
            if byte == .quote {
                try finishString()
            } else if byte < .space {
                throw failure(.controlCharacter)
            } else if byte == 0xFF {
                // In no UTF-8, and so never to be waited behind; the rest is checked at the string's end.
                throw failure(.invalidUTF8)
            } else {
                scratch.append(byte)
            }
        case .backslash:
            try continueEscape(byte)
        case .unicode(let digits, let value):
            guard let digit = Self.hexadecimalDigit(byte) else { throw failure(.invalidEscape) }
            let unit = value << 4 | digit
            if digits == 3 {
                try appendUnit(unit)
                token = .string(.none)
            } else {
                token = .string(.unicode(digits: digits + 1, value: unit))
            }
        }
    }

    private mutating func continueEscape(_ byte: UInt8) throws(JSONError) {
        if byte == UInt8(ascii: "u") {
            token = .string(.unicode(digits: 0, value: 0))
            return
        }
        guard highSurrogate == nil else { throw failure(.loneSurrogate) }
        switch byte {
        case .quote, .backslash, UInt8(ascii: "/"): scratch.append(byte)
        case UInt8(ascii: "b"): scratch.append(0x08)
        case UInt8(ascii: "f"): scratch.append(0x0C)
        case UInt8(ascii: "n"): scratch.append(.newline)
        case UInt8(ascii: "r"): scratch.append(.carriageReturn)
        case UInt8(ascii: "t"): scratch.append(.tab)
        default: throw failure(.invalidEscape)
        }
        token = .string(.none)
    }

    /// Takes one UTF-16 code unit of a `\u` escape.
    private mutating func appendUnit(_ unit: UInt16) throws(JSONError) {
        if let high = highSurrogate {
            guard UTF16.isTrailSurrogate(unit) else { throw failure(.loneSurrogate) }
            highSurrogate = nil
            try appendScalar(0x10000 + UInt32(high & 0x3FF) << 10 + UInt32(unit & 0x3FF))
        } else if UTF16.isLeadSurrogate(unit) {
            highSurrogate = unit
        } else {
            try appendScalar(UInt32(unit))
        }
    }

    private mutating func appendScalar(_ value: UInt32) throws(JSONError) {
        guard let scalar = Unicode.Scalar(value), let bytes = UTF8.encode(scalar) else {
            throw failure(.loneSurrogate)
        }
        scratch.append(contentsOf: bytes)
    }

    private mutating func finishString() throws(JSONError) {
        guard let text = String(validating: scratch, as: UTF8.self) else { throw failure(.invalidUTF8) }
        let isName =
            switch expectation {
            case .name, .nameOrEnd: true
            default: false
            }
        guard isName, let top = stack.indices.last else {
            attach(.string(text))
            return
        }
        guard stack[top].names.insert(text).inserted else { throw failure(.duplicateName(text)) }
        stack[top].name = text
        token = .none
        scratch.removeAll(keepingCapacity: true)
        expectation = .colon
    }

    private static func hexadecimalDigit(_ byte: UInt8) -> UInt16? {
        switch byte {
        case .zero ... .nine: UInt16(byte - .zero)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    // MARK: Numbers

    /// Longer than any number needs; without it one number could be as long as a value.
    private static let longestNumber = 1024

    static func mayContinueNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case .zero ... .nine, .minus, UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): true
        default: false
        }
    }

    mutating func finishNumber() throws(JSONError) {
        guard scratch.count <= Self.longestNumber, let isInteger = Self.checkNumber(scratch) else {
            throw failure(.invalidNumber)
        }
        let text = String(decoding: scratch, as: UTF8.self)
        if isInteger, let value = Int64(text) {
            attach(.integer(value))
        } else if isInteger, let value = UInt64(text) {
            attach(.unsigned(value))
        } else if let value = Double(text), value.isFinite {
            attach(.number(value))
        } else {
            throw failure(.numberOutOfRange)
        }
    }

    /// Whether the text is an integer (true) or has a fraction or exponent (false), or nil when it is no number by
    /// RFC 8259 section 6.
    private static func checkNumber(_ text: [UInt8]) -> Bool? {
        var rest = text[...]
        var isInteger = true
        func dropDigits() -> Bool {
            let count = rest.prefix { $0 >= .zero && $0 <= .nine }.count
            rest = rest.dropFirst(count)
            return count > 0
        }
        if rest.first == .minus { rest = rest.dropFirst() }
        if rest.first == .zero {
            rest = rest.dropFirst()
        } else if !dropDigits() {
            return nil
        }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            isInteger = false
            guard dropDigits() else { return nil }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            isInteger = false
            if rest.first == .minus || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
            guard dropDigits() else { return nil }
        }
        return rest.isEmpty ? isInteger : nil
    }
}
