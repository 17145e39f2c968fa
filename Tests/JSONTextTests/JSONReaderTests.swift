import Testing

@testable import JSONText

/// Everything the reader makes of the bytes, fed in pieces of the given size.
func read(_ bytes: [UInt8], pieces: Int = .max, limits: JSONLimits = JSONLimits()) -> [JSONReader.Outcome] {
    var reader = JSONReader(limits: limits)
    var outcomes: [JSONReader.Outcome] = []
    var start = 0
    while start < bytes.count {
        let end = min(bytes.count, pieces == .max ? bytes.count : start + pieces)
        let piece = Array(bytes[start..<end])
        var offset = 0
        while let outcome = reader.next(in: piece.span, from: &offset) { outcomes.append(outcome) }
        #expect(offset == piece.count)
        start = end
    }
    return outcomes
}

func read(_ text: String, limits: JSONLimits = JSONLimits()) -> [JSONReader.Outcome] {
    read(Array(text.utf8), limits: limits)
}

/// The outcomes in short: a value's text, or `!` for an error.
func shorthand(_ outcomes: [JSONReader.Outcome]) -> [String] {
    outcomes.map {
        switch $0 {
        case .value(let value): JSONWriter.text(value)
        case .malformed: "!"
        }
    }
}

@Suite struct JSONReaderTests {
    @Test(arguments: [
        (#"{}"#, #"{}"#), (#"[]"#, #"[]"#), (#"null "#, "null"), ("true", "true"), ("false", "false"),
        (#" { "b" : [ 1 , { } , [ ] ] , "a" : null } "#, #"{"b":[1,{},[]],"a":null}"#),
        (#""\"\\\/\b\f\n\r\tA""#, #""\"\\/\u0008\u000c\n\r\tA""#),
        (#""\u0041\u00e9\u20AC\ud83d\ude00\u0000""#, #""Aé€😀\u0000""#),
        (#""é€😀""#, #""é€😀""#), (#"{"":0}"#, #"{"":0}"#),
        (#"[0,-0,-1,9223372036854775807,-9223372036854775808]"#, "[0,0,-1,9223372036854775807,-9223372036854775808]"),
        ("[9223372036854775808,18446744073709551615]", "[9223372036854775808,18446744073709551615]"),
        ("[18446744073709551616,1.5,1e3,-2E-2,1E+2]", "[1.8446744073709552e+19,1.5,1000.0,-0.02,100.0]"),
    ])
    func acceptsWhatIsJSON(text: String, written: String) {
        #expect(shorthand(read(text)) == [written])
        #expect(shorthand(read(Array(text.utf8), pieces: 1)) == [written])
    }

    @Test(arguments: [
        "{", "[1,]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{"a" 1}"#, "{1:2}", "[1 2]", "nul ", "[tru]", "nan",
        "[+1]", "[01]", "[.5]", "[1.]", "[1e]", "[-]", "[--1]", "[1e999]", "[0x10]", "'a'", "// c",
        #""\x""#, #""\u12G4""#,
        "\"a\tb\"", "\"a\nb\"", #""\ud800""#, #""\udc00""#, #""\ud800\n""#, #""\ud800\ud800""#, #""\ud800x""#, "{]",
        "[}",
        "}", "]", ",", ":", #"{"a":1,"a":2}"#, #"{"a":1,"\u0061":2}"#,
    ])
    func refusesWhatIsNot(text: String) {
        let outcomes = shorthand(read(text + "\n{\"next\":1}\n"))
        #expect(outcomes.first == "!")
        #expect(outcomes.last == #"{"next":1}"#)
        #expect(shorthand(read(Array((text + "\n{\"next\":1}\n").utf8), pieces: 1)) == outcomes)
    }

    @Test(
        arguments: [
            [0xC0, 0x80], [0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xE0, 0x80, 0xAF],
        ] as [[UInt8]])
    func refusesWhatIsNotUTF8(bytes: [UInt8]) {
        let text = Array(#"{"a":""#.utf8) + bytes + Array("\"}{\"next\":1}".utf8)
        #expect(shorthand(read(text)) == ["!", #"{"next":1}"#])
    }

    @Test func readsTheSameHoweverTheStreamIsCut() {
        let text = #"{"execute":"a","id":-1.5e3}[1,"é😀\ud83d\ude00"]"# + "\r\n17\n" + #"{"x":[{},{"y":null}]} true"#
        let bytes = Array(text.utf8)
        let whole = read(bytes)
        #expect(whole.count == 5)
        for cut in 0...bytes.count {
            var reader = JSONReader()
            var outcomes: [JSONReader.Outcome] = []
            for piece in [Array(bytes[..<cut]), Array(bytes[cut...])] {
                var offset = 0
                while let outcome = reader.next(in: piece.span, from: &offset) { outcomes.append(outcome) }
            }
            #expect(outcomes == whole, "cut at \(cut)")
        }
        #expect(read(bytes, pieces: 1) == whole)
    }

    @Test func passesOverBlanksNULAndFFBetweenValues() {
        let bytes = [0, 0xFF, 0x20, 0x0A] + Array("{}".utf8) + [0, 0, 0xFF] + Array("[]".utf8)
        #expect(shorthand(read(bytes)) == ["{}", "[]"])
    }

    @Test func clearsItsStateAtFF() {
        #expect(shorthand(read(Array(#"{"a":"half"#.utf8) + [0xFF] + Array("{}".utf8))) == ["!", "{}"])
        #expect(shorthand(read(Array(#"{"a":[["#.utf8) + [0xFF] + Array("{}".utf8))) == ["!", "{}"])
    }

    @Test func takesNULInsideAValueForAnError() {
        #expect(shorthand(read(Array("{\0}{}".utf8))) == ["!", "{}"])
    }

    /// What was sent, and what comes of it: one error, and the next command understood.
    @Test(arguments: [
        // The line's end, where brackets are out of balance.
        ("{\"execute\":\"x\"\n{\"execute\":\"y\"}\n", ["!", #"{"execute":"y"}"#]),
        ("{\"execute\":\"x\n{\"execute\":\"y\"}\n", ["!", #"{"execute":"y"}"#]),
        ("{\"execute\"\n  {\"execute\":\"y\"}\n", ["!", #"{"execute":"y"}"#]),
        ("{\"a\":{\"b\":1},\n{\"execute\":\"y\"}\n", ["!", #"{"execute":"y"}"#]),
        ("garbage {\"execute\":\"no\"}\n{\"execute\":\"y\"}\n", ["!", #"{"execute":"y"}"#]),
        ("]]]]]] [\n{\"execute\":\"y\"}\n", ["!", #"{"execute":"y"}"#]),
        // The end of the broken value, where no line ends.
        ("{bad}{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        ("{\"a\":1,}{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        ("{\"a\":]}{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        ("{\"a\" \"}\" {}}{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        ("{\"a\":\"\\q}\\\"}\"}{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        ("{\"a\":1,\"a\":2}{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        ("[01]{\"execute\":\"y\"}", ["!", #"{"execute":"y"}"#]),
        // No part of a broken command is a command.
        ("{\"execute\":x,\"arguments\":{\"execute\":\"quit\"}}{}", ["!", "{}"]),
        ("{\"k\":\"un\"quoted {\"execute\":\"quit\"} \"}\n{}", ["!", "{}"]),
    ])
    func findsTheNextCommandAfterAnError(text: String, expected: [String]) {
        #expect(shorthand(read(text)) == expected)
        #expect(shorthand(read(Array(text.utf8), pieces: 1)) == expected)
    }

    @Test func doesNotTakeANewLineInsideAValueForItsEnd() {
        #expect(shorthand(read("{\n\"a\":\n{\n\"b\":[\n{}\n,\n{}]\n}\n}\n")) == [#"{"a":{"b":[{},{}]}}"#])
    }

    @Test func limitsDepth() {
        let deep = 100_000
        let text = String(repeating: "[", count: deep) + String(repeating: "]", count: deep) + "{}"
        let outcomes = read(text, limits: JSONLimits(bytes: .max))
        #expect(shorthand(outcomes) == ["!", "{}"])
        #expect(outcomes.first == .malformed(JSONError(reason: .tooDeep(limit: 64), position: 65)))
        let mixed = String(repeating: #"{"a":["#, count: 32)
        #expect(shorthand(read(mixed + String(repeating: "]}", count: 32))).first?.hasPrefix(#"{"a""#) == true)
        #expect(shorthand(read(mixed + "[" + "\n{}")) == ["!", "{}"])
    }

    @Test func limitsSize() {
        let limits = JSONLimits(bytes: 32)
        let fits = "\"" + String(repeating: "x", count: 30) + "\""
        #expect(shorthand(read(fits, limits: limits)) == [fits])
        let long = "\"" + String(repeating: "x", count: 31) + "\"\n{}"
        #expect(
            read(long, limits: limits) == [
                .malformed(JSONError(reason: .tooLong(limit: 32), position: 33)), .value(.emptyObject),
            ])
        #expect(shorthand(read("[" + String(repeating: " ", count: 40) + "]{}", limits: limits)) == ["!", "{}"])
    }

    @Test func keepsNothingOfAnEndlessLine() {
        var reader = JSONReader()
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 18)
        var errors = 0
        var offset = 0
        if reader.next(in: Array("{\"a\":\"".utf8).span, from: &offset) != nil { errors += 1 }
        for _ in 0..<100 {
            offset = 0
            while reader.next(in: piece.span, from: &offset) != nil { errors += 1 }
        }
        #expect(errors == 1)
        #expect(reader.scratch.capacity <= 256 << 10)
        offset = 0
        #expect(reader.next(in: Array("\n{}".utf8).span, from: &offset) == .value(.emptyObject))
    }

    @Test func limitsTheLengthOfANumber() {
        #expect(shorthand(read("[" + String(repeating: "1", count: 2000) + "]{}")) == ["!", "{}"])
    }

    @Test func tellsWhereTheErrorIs() {
        guard case .malformed(let error) = read(#"  {"a":1 "b"}"#).first else {
            Issue.record("no error")
            return
        }
        #expect(error.description == "invalid JSON at byte 8: expected ',' or '}'")
    }

    @Test func parsesATextWhole() throws {
        #expect(try JSONValue(parsing: "-12") == .integer(-12))
        #expect(try JSONValue(parsing: #"{"a":[true]}"#) == ["a": [true]])
        for text in ["", "[", "{} {}", "1 2", "{}x", "\"a"] {
            #expect(throws: JSONError.self, "\(text)") { try JSONValue(parsing: text) }
        }
    }

    /// Feeding a byte at a time costs what feeding the whole does, give or take the calls.
    @Test func costsNoMoreByTheByte() {
        let text = "[" + Array(repeating: "{\"key\":\"value\"}", count: 4000).joined(separator: ",") + "]"
        let bytes = Array(text.utf8)
        let clock = ContinuousClock()
        let whole = clock.measure { _ = read(bytes) }
        let byTheByte = clock.measure { _ = read(bytes, pieces: 1) }
        #expect(byTheByte < whole * 50 + .seconds(1))
    }
}
