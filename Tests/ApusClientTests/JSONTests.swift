import ApusClient
import Testing

@Suite struct JSONTests {
    static let texts: [(String, JSON)] = [
        ("null", nil), ("true", true), ("false", false), ("0", 0), ("-12", -12),
        ("9223372036854775807", 0x7fff_ffff_ffff_ffff),
        ("1.5", 1.5), (#""""#, ""), (#""a\"\\b""#, "a\"\\b"), (#""\u0001é""#, "\u{1}é"), ("[]", []),
        ("[1,[2]]", [1, [2]]),
        ("{}", [:]), (#"{"arguments":{"b":[null]},"execute":"x"}"#, ["execute": "x", "arguments": ["b": [nil]]]),
    ]

    @Test(arguments: texts)
    func textsAreRead(_ text: String, _ value: JSON) throws {
        #expect(try JSON(parsing: text.utf8) == value)
        #expect(value.description == text)
    }

    @Test(
        arguments: [
            (" { \"a\" :\t1 ,\r\n\"b\":[ ] } ", ["a": 1, "b": []]), (#""\b\f\n\r\t\/""#, "\u{8}\u{c}\n\r\t/"),
            (#""\ud83d\ude00""#, "😀"), ("18446744073709551616", 18_446_744_073_709_551_616.0), ("1e3", 1000.0),
        ] as [(String, JSON)])
    func otherFormsAreRead(_ text: String, _ value: JSON) throws {
        #expect(try JSON(parsing: text.utf8) == value)
    }

    @Test(arguments: [
        "", " ", "x", "tru", "+1", "-", "1e999", "\"", "\"\\", "\"\\u12", "\"\\q\"", "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\u{1}\"", "[", "[1", "[1,", "[1,]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{\"a\":1,\"a\":2}",
        "{1:2}", "1 2",
        "{}}",
        String(repeating: "[", count: 5000),
    ])
    func whatIsNoJSONIsRefused(_ text: String) {
        #expect(throws: ClientError.self) { try JSON(parsing: text.utf8) }
    }

    @Test func bytesThatAreNoTextAreRefused() {
        #expect(throws: ClientError.malformed("invalid JSON at byte 2: a string is not valid UTF-8")) {
            try JSON(parsing: [0x22, 0xff, 0x22])
        }
    }

    @Test func pathsIntoAValue() {
        let value: JSON = ["a": [1, ["b": true]], "s": "t"]
        #expect(value["a"]?[1]?["b"]?.boolValue == true)
        #expect(value["a"]?[0]?.intValue == 1)
        #expect(value["s"]?.stringValue == "t")
        #expect(value["a"]?[2] == nil && value["a"]?[-1] == nil && value["a"]?["b"] == nil && value["x"] == nil)
        #expect(value["s"]?.intValue == nil && value["s"]?.boolValue == nil && value["s"]?.arrayValue == nil)
    }
}
