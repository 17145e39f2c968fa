extension JSON {
    /// Reads one value (RFC 8259) with nothing but blanks around it.
    ///
    /// - Throws: `malformed`, with what was wrong and at which byte.
    public init(parsing text: some Sequence<UInt8>) throws(ClientError) {
        var parser = JSONParser(bytes: Array(text))
        self = try parser.whole()
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var at = 0
    var depth = 0

    /// Arrays and objects within each other.
    static let deepest = 100

    mutating func whole() throws(ClientError) -> JSON {
        let value = try value()
        skipBlanks()
        guard at == bytes.count else { throw wrong("text behind the value") }
        return value
    }

    private func wrong(_ what: String) -> ClientError { .malformed("not JSON: \(what) at byte \(at)") }

    private var next: UInt8? { bytes.indices.contains(at) ? bytes[at] : nil }

    private mutating func skipBlanks() {
        while let byte = next, byte == 0x20 || (0x09...0x0D).contains(byte) { at += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard next == byte else { return false }
        at += 1
        return true
    }

    private mutating func value() throws(ClientError) -> JSON {
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return try nested { parser throws(ClientError) in try parser.object() }
        case UInt8(ascii: "["): return try nested { parser throws(ClientError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(ClientError) -> JSON
    ) throws(ClientError) -> JSON {
        at += 1
        depth += 1
        guard depth <= Self.deepest else { throw wrong("too deep") }
        defer { depth -= 1 }
        return try body(&self)
    }

    private mutating func object() throws(ClientError) -> JSON {
        var members: [String: JSON] = [:]
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipBlanks()
            let name = try string()
            guard take(UInt8(ascii: ":")) else { throw wrong("no colon behind a name") }
            members[name] = try value()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw wrong("an object that does not end") }
        return .object(members)
    }

    private mutating func array() throws(ClientError) -> JSON {
        var elements: [JSON] = []
        if take(UInt8(ascii: "]")) { return .array(elements) }
        repeat { elements.append(try value()) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw wrong("an array that does not end") }
        return .array(elements)
    }

    private mutating func word(_ text: StaticString, _ value: JSON) throws(ClientError) -> JSON {
        let letters = Array(text.description.utf8)
        guard bytes[at...].starts(with: letters) else { throw wrong("no value") }
        at += letters.count
        return value
    }

    private mutating func number() throws(ClientError) -> JSON {
        let digits = bytes[at...].prefix { (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) }
        let text = String(decoding: digits, as: UTF8.self)
        guard digits.first != UInt8(ascii: "+") else { throw wrong("no value") }
        if let value = Int64(text) {
            at += digits.count
            return .integer(value)
        }
        guard let value = Double(text), value.isFinite else { throw wrong("no value") }
        at += digits.count
        return .number(value)
    }

    private mutating func string() throws(ClientError) -> String {
        guard next == UInt8(ascii: "\"") else { throw wrong("no string") }
        at += 1
        var units: [UInt8] = []
        while let byte = next {
            at += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: units, as: UTF8.self) else { throw wrong("a string not in UTF-8") }
                return text
            case UInt8(ascii: "\\"): try escape(into: &units)
            case 0..<0x20: throw wrong("a control character in a string")
            default: units.append(byte)
            }
        }
        throw wrong("a string that does not end")
    }

    private mutating func escape(into units: inout [UInt8]) throws(ClientError) {
        guard let byte = next else { throw wrong("a string that does not end") }
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(byte)
        case UInt8(ascii: "b"): units.append(0x08)
        case UInt8(ascii: "f"): units.append(0x0C)
        case UInt8(ascii: "n"): units.append(0x0A)
        case UInt8(ascii: "r"): units.append(0x0D)
        case UInt8(ascii: "t"): units.append(0x09)
        case UInt8(ascii: "u"): units.append(contentsOf: String(Character(try scalar())).utf8)
        default: throw wrong("an unknown escape")
        }
    }

    /// What one `\u` escape stands for, or two that are halves of a pair.
    private mutating func scalar() throws(ClientError) -> Unicode.Scalar {
        var code = UInt32(try codeUnit())
        if UTF16.isLeadSurrogate(UInt16(truncatingIfNeeded: code)), bytes[at...].starts(with: Array("\\u".utf8)) {
            at += 2
            let trail = try codeUnit()
            guard UTF16.isTrailSurrogate(trail) else { throw wrong("half of a surrogate pair") }
            code = 0x10000 + (code & 0x3FF) << 10 + UInt32(trail & 0x3FF)
        }
        guard let scalar = Unicode.Scalar(code) else { throw wrong("half of a surrogate pair") }
        return scalar
    }

    private mutating func codeUnit() throws(ClientError) -> UInt16 {
        let digits = bytes[at...].prefix(4)
        guard digits.count == 4, let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16) else {
            throw wrong("an unknown escape")
        }
        at += 4
        return unit
    }
}
