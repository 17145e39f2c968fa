/// Writes JSON values in their shortest form: no blanks, UTF-8 unescaped.
package enum JSONWriter {
    /// Appends the value's text.
    package static func write(_ value: JSONValue, to output: inout [UInt8]) {
        switch value {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): output.append(contentsOf: String(value).utf8)
        case .unsigned(let value): output.append(contentsOf: String(value).utf8)
        // JSON has no word for what is not finite.
        case .number(let value): output.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
        case .string(let text): write(text, to: &output)
        case .array(let elements): write(elements, to: &output)
        case .object(let object): write(object, to: &output)
        }
    }

    /// The value's text.
    package static func text(_ value: JSONValue) -> String {
        var bytes: [UInt8] = []
        write(value, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func write(_ elements: [JSONValue], to output: inout [UInt8]) {
        output.append(.openBracket)
        for (index, element) in elements.enumerated() {
            if index > 0 { output.append(.comma) }
            write(element, to: &output)
        }
        output.append(.closeBracket)
    }

    private static func write(_ object: JSONObject, to output: inout [UInt8]) {
        output.append(.openBrace)
        for (index, member) in object.members.enumerated() {
            if index > 0 { output.append(.comma) }
            write(member.name, to: &output)
            output.append(.colon)
            write(member.value, to: &output)
        }
        output.append(.closeBrace)
    }

    private static func write(_ text: String, to output: inout [UInt8]) {
        output.append(.quote)
        for byte in text.utf8 {
            switch byte {
            case .quote, .backslash:
                output.append(.backslash)
                output.append(byte)
            case .newline: output.append(contentsOf: #"\n"#.utf8)
            case .carriageReturn: output.append(contentsOf: #"\r"#.utf8)
            case .tab: output.append(contentsOf: #"\t"#.utf8)
            case 0..<0x20:
                output.append(contentsOf: #"\u00"#.utf8)
                output.append(contentsOf: [hexadecimal(byte >> 4), hexadecimal(byte & 0xF)])
            default: output.append(byte)
            }
        }
        output.append(.quote)
    }

    private static func hexadecimal(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? .zero + nibble : UInt8(ascii: "a") + (nibble - 10)
    }
}
