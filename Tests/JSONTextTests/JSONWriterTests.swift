import Testing

@testable import JSONText

@Suite struct JSONWriterTests {
    private static let texts: [(JSONValue, String)] = [
        (.null, "null"),
        (.bool(true), "true"),
        (.bool(false), "false"),
        (.integer(-7), "-7"),
        (.unsigned(.max), "18446744073709551615"),
        (.number(0.1), "0.1"),
        (.number(.infinity), "null"),
        (.number(.nan), "null"),
        (.emptyObject, "{}"),
        (.array([]), "[]"),
        (.object(["a": 1, "b": ["c", nil]]), #"{"a":1,"b":["c",null]}"#),
        (.string("\u{1}\u{1f}\"\\/\n\r\t é😀\u{7f}"), "\"\\u0001\\u001f\\\"\\\\/\\n\\r\\t é😀\u{7f}\""),
    ]

    @Test(arguments: texts)
    func writes(value: JSONValue, text: String) {
        #expect(JSONWriter.text(value) == text)
    }

    @Test(arguments: [Double.leastNonzeroMagnitude, .greatestFiniteMagnitude, 1e21, -1.5e-7, 123456789.125])
    func keepsNumbersExactly(number: Double) throws {
        #expect(try JSONValue(parsing: JSONWriter.text(.number(number))) == .number(number))
    }

    @Test func chooses() {
        #expect(JSONValue(5 as UInt64) == .integer(5))
        #expect(JSONValue(UInt64.max) == .unsigned(.max))
        #expect(JSONValue(UInt128.max) == .number(Double(UInt128.max)))
    }
}
