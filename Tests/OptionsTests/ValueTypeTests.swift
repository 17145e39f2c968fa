import Testing

@testable import Options

@Suite("Types of values")
struct ValueTypeTests {
    @Test(
        "Sizes",
        arguments: [
            ("0", 0), ("1", 1 << 20), ("1k", 1 << 10), ("1K", 1 << 10), ("7m", 7 << 20), ("7M", 7 << 20),
            ("3g", 3 << 30), ("3G", 3 << 30), ("17592186044415", 17_592_186_044_415 << 20),
            ("18446744073709551615", nil), ("17592186044416", nil), ("17179869184G", nil), ("", nil), ("G", nil),
            ("1Mm", nil), ("1T", nil), ("-1", nil), ("+1", nil), (" 1", nil), ("1 ", nil), ("0x10", nil), ("1.5G", nil),
            ("1E", nil), ("٣", nil),
        ] as [(String, UInt64?)])
    func sizes(text: String, bytes: UInt64?) {
        #expect(byteCount(text) == bytes)
    }

    @Test(
        "Decimal numbers",
        arguments: [
            ("0", 0), ("007", 7), ("18446744073709551615", .max), ("18446744073709551616", nil), ("", nil), ("-0", nil),
            ("1_000", nil), ("99999999999999999999999999", nil), ("1e3", nil),
        ] as [(String, UInt64?)])
    func decimals(text: String, number: UInt64?) {
        #expect(decimal(text) == number)
    }

    @Test(
        "Booleans",
        arguments: [
            ("true", true), ("on", true), ("yes", true), ("unmap", true), ("false", false), ("off", false),
            ("no", false),
            ("ignore", false), ("ON", nil), ("1", nil), ("", nil),
        ] as [(String, Bool?)])
    func booleans(text: String, value: Bool?) {
        #expect(ValueType<Bool>.onOff.parse(text) == value)
        #expect(ValueType<Bool>.trueFalse.parse(text) == (["true", "false"].contains(text) ? value : nil))
        #expect(ValueType<Bool>.strictOnOff.parse(text) == (["on", "off"].contains(text) ? value : nil))
    }

    @Test(
        "Lists of integers",
        arguments: [
            ("3", [3]), ("0-3", [0, 1, 2, 3]), ("[1:4-5]", [1, 4, 5]), ("127", [127]), ("128", nil), ("3-3", nil),
            ("3-2", nil), ("1-2-3", nil), ("", nil), ("[]", nil), ("1:", nil), ("-1", nil), ("0-99999999999999", nil),
            ("a", nil), ("0-127:0-127", nil),
        ] as [(String, [Int]?)])
    func lists(text: String, numbers: [Int]?) {
        #expect(ValueType<[Int]>.list(below: 128).parse(text) == numbers)
    }

    @Test(
        "Descriptors",
        arguments: [
            ("3", [3]), ("3:4:5", [3, 4, 5]), ("2147483647", [.max]), ("2147483648", nil), ("", nil), ("3:", nil),
            ("-1", nil),
        ] as [(String, [Int32]?)])
    func descriptors(text: String, numbers: [Int32]?) {
        #expect(ValueType<[Int32]>.descriptors.parse(text) == numbers)
    }

    @Test(
        "Powers of two",
        arguments: [
            ("4", 4), ("256", 256), ("1024", 1024), ("2", nil), ("3", nil), ("100", nil), ("2048", nil), ("0", nil),
            ("9223372036854775808", nil),
        ] as [(String, Int?)])
    func powers(text: String, number: Int?) {
        #expect(ValueType<Int>.powerOfTwo(4...1024).parse(text) == number)
    }

    @Test(
        "MAC addresses",
        arguments: [
            ("52:54:00:12:34:56", "52:54:00:12:34:56"), ("AA:bb:0C:0d:00:ff", "aa:bb:0c:0d:00:ff"),
            ("52:54:00:12:34", nil), ("52:54:00:12:34:56:78", nil), ("52-54-00-12-34-56", nil),
            ("5:54:00:12:34:56", nil),
            ("+5:54:00:12:34:56", nil), ("52:54:00:12:34:5g", nil), ("", nil),
        ] as [(String, String?)])
    func macs(text: String, shown: String?) {
        #expect(MACAddress(text)?.description == shown)
    }

    @Test(
        "IPv4 addresses",
        arguments: [
            ("0.0.0.0", 0), ("127.0.0.1", 0x7f00_0001), ("255.255.255.255", .max), ("1.2.3", nil), ("1.2.3.4.5", nil),
            ("256.0.0.1", nil), ("1.2.3.", nil), ("a.b.c.d", nil), ("0001.2.3.4", nil), ("", nil),
        ] as [(String, UInt32?)])
    func addresses(text: String, number: UInt32?) {
        #expect(IPv4Address(text)?.rawValue == number)
        if number != nil { #expect(IPv4Address(text)?.description == text) }
    }

    @Test("Texts end where their bytes do")
    func texts() {
        #expect(ValueType<String>.identifier.parse(String(repeating: "x", count: 255)) != nil)
        #expect(ValueType<String>.identifier.parse(String(repeating: "x", count: 256)) == nil)
        #expect(ValueType<String>.identifier.parse(String(repeating: "ä", count: 128)) == nil)
        #expect(ValueType<String>.path.parse("/a\0b") == nil)
        #expect(ValueType<String>.path.parse(String(repeating: "x", count: 4095)) != nil)
        #expect(ValueType<String>.path.parse(String(repeating: "x", count: 4096)) == nil)
        #expect(ValueType<String>.socketPath.parse(String(repeating: "x", count: 107)) != nil)
        #expect(ValueType<String>.socketPath.parse(String(repeating: "x", count: 108)) == nil)
    }

    @Test(
        "Sizes are shown as one would write them",
        arguments: [(1 << 30, "1G"), (3 << 20, "3M"), (5 << 10, "5K"), (0, "0"), (7, "7 bytes"), (1025 << 10, "1025K")]
            as [(UInt64, String)])
    func shown(bytes: UInt64, text: String) {
        #expect(sizeText(bytes) == text)
    }

    @Test(
        "The word that was meant",
        arguments: [
            ("kernal", "kernel"), ("dump_guest_core", "dump-guest-core"), ("Kernel", "kernel"), ("mem", "mem-path"),
            ("xyzzy", nil), ("", nil), ("k", nil), (String(repeating: "k", count: 100_000), nil),
        ] as [(String, String?)])
    func meant(text: String, word: String?) {
        #expect(nearest(to: text, among: ["kernel", "dump-guest-core", "mem-path"]) == word)
    }
}
