import Testing

@testable import Options

@Suite("Lists of keys and values")
struct KeyValueListTests {
    @Test(
        "Pieces",
        arguments: [
            ("a=1,b=2", [KeyValue("a", "1"), KeyValue("b", "2")]),
            ("word,b=2", [KeyValue("first", "word"), KeyValue("b", "2")]),
            ("a=1,flag", [KeyValue("a", "1"), KeyValue("flag", nil)]),
            ("a=", [KeyValue("a", "")]),
            ("", [KeyValue("first", "")]),
            ("a=\"x y\"", [KeyValue("a", "x y")]),
            ("\"word\",a=\"\"", [KeyValue("first", "word"), KeyValue("a", "")]),
            ("a=\"", [KeyValue("a", "\"")]),
            // A combining mark makes one character of the comma and itself, yet the comma counts.
            ("a=1,\u{301}b=2", [KeyValue("a", "1"), KeyValue("\u{301}b", "2")]),
        ])
    func pieces(text: String, pairs: [KeyValue]) throws {
        #expect(try KeyValueList(option: "-x", firstKey: "first", parsing: text).pairs == pairs)
    }

    @Test("Without a first key a bare first word is a flag")
    func bareWord() throws {
        #expect(try KeyValueList(option: "-x", parsing: "word").pairs == [KeyValue("word", nil)])
    }

    @Test("Broken lists", arguments: [",", "a,", ",a", "a,,b", "a=1=2", "=1", "a=1,="])
    func broken(text: String) {
        #expect(throws: OptionError.self) { try KeyValueList(option: "-x", firstKey: "first", parsing: text) }
    }

    @Test("A list for QMP names members as the client does, and gives no advice on commas")
    func spellings() {
        let list = KeyValueList(
            option: "blockdev-add", pairs: [KeyValue("id", "a")], spellings: ["file": "file.filename"])
        #expect(
            message { () throws(OptionError) in try DriveSpec.decode(list) }
                == "blockdev-add: \"file.filename\" is missing")
    }
}
