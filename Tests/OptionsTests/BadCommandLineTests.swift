import Testing

@testable import Options

@Suite("Command lines that are refused")
struct BadCommandLineTests {
    @Test("The file has its cases")
    func count() {
        #expect(BadCommandLines.all.count >= 200)
    }

    @Test("Each gives its message", arguments: BadCommandLines.all)
    func refused(_ bad: BadCommandLines.Case) {
        let error = #expect(throws: OptionError.self) { try LaunchOptions.parse(bad.arguments, .microvm) }
        #expect(error?.description == bad.message)
    }

    @Test("Strange text in a message stays one short printable line")
    func printable() {
        let strange = "a\nb\u{1B}[31m\u{2028}\u{202E}\t" + String(repeating: "x", count: 100_000)
        let error = #expect(throws: OptionError.self) { try LaunchOptions.parse(["-machine", strange], .microvm) }
        let text = error?.description ?? "\n"
        #expect(text.hasPrefix("apus: -machine: \"a?b?[31m???xxx"))
        #expect(text.utf8.count < 250)
        #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value < 0x7f })
        #expect(error?.offending == strange)
    }

    @Test("What the runtime repaired is not UTF-8")
    func notUTF8() {
        let bytes: [UInt8] = [0x2f, 0xff, 0xfe]
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(
            message { () throws(OptionError) in try LaunchOptions.parse(["-kernel", text], .microvm) }?.hasSuffix(
                "is not UTF-8")
                == true)
    }
}
