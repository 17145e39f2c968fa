/// The type of a key's value: how it is written, how it is read, and what to say when it can't be.
struct ValueType<Value: Sendable>: Sendable {
    /// How help writes the value: `on|off`, `N`, `PATH`.
    let placeholder: String
    /// The type's name in QEMU's object model: `bool`, `uint16`, `str`, …
    let name: String
    /// The value of a text, or nil if the text is not of this type.
    let parse: @Sendable (String) -> Value?
    /// Not a string, because it is composed for an error only.
    private let makeExpectation: @Sendable () -> String

    init(
        placeholder: String, name: String = Value.self is Bool.Type ? "bool" : "str",
        expectation: @autoclosure @escaping @Sendable () -> String,
        parse: @escaping @Sendable (String) -> Value?
    ) {
        self.placeholder = placeholder
        self.name = name
        self.parse = parse
        makeExpectation = expectation
    }

    /// Completes the sentence `"x" is not …`.
    var expectation: String { makeExpectation() }
}

// MARK: - Words

extension ValueType where Value == Bool {
    /// StratoVirt's usual boolean, with its words for `discard=` among the others.
    static let onOff = ValueType(placeholder: "on|off", expectation: "on or off") { text in
        switch text {
        case "true", "on", "yes", "unmap": true
        case "false", "off", "no", "ignore": false
        default: nil
        }
    }

    /// The boolean of the keys that know only these two words.
    static let trueFalse = ValueType(placeholder: "true|false", expectation: "true or false") { text in
        switch text {
        case "true": true
        case "false": false
        default: nil
        }
    }

    /// The boolean of `-cpu`'s features.
    static let strictOnOff = ValueType(placeholder: "on|off", expectation: "on or off") { text in
        switch text {
        case "on": true
        case "off": false
        default: nil
        }
    }

    /// A bare word: it has no text to read.
    static let flag = ValueType(placeholder: "", expectation: "a word without value") { _ in nil }
}

extension ValueType where Value: CaseIterable & RawRepresentable, Value.RawValue == String {
    /// One of the enumeration's raw values.
    static var choice: ValueType {
        let words = Value.allCases.map { $0.rawValue }
        return ValueType(placeholder: words.joined(separator: "|"), expectation: alternatives(words)) {
            Value(rawValue: $0)
        }
    }
}

extension ValueType where Value == String {
    /// An id: any text of 1 to 255 bytes.
    static let identifier = text("an id", bytes: 1...255, placeholder: "ID")

    /// A path that the kernel could open: 1 to 4095 bytes.
    static let path = text("a path", bytes: 1...4095, placeholder: "PATH")

    /// The path of a Unix socket: what fits `sun_path` with its final NUL.
    static let socketPath = text("the path of a socket", bytes: 1...107, placeholder: "PATH")

    /// Any text without NUL, of a limited number of bytes.
    static func text(_ noun: String, bytes: ClosedRange<Int>, placeholder: String = "TEXT") -> ValueType {
        ValueType(
            placeholder: placeholder,
            expectation: "\(noun) of \(bytes.lowerBound) to \(bytes.upperBound) bytes"
        ) { text in
            bytes.contains(text.utf8.count) && !text.utf8.contains(0) ? text : nil
        }
    }
}

// MARK: - Numbers

extension ValueType where Value: FixedWidthInteger {
    /// A decimal number within limits; `noun` says of what: `a number of CPUs`.
    static func number(_ noun: String = "a number", _ range: ClosedRange<Value>) -> ValueType {
        ValueType(
            placeholder: "N", name: unsignedName(range.upperBound),
            expectation: "\(noun) from \(range.lowerBound) to \(range.upperBound)"
        ) { text in
            guard let number = decimal(text).flatMap(Value.init(exactly:)) else { return nil }
            return range.contains(number) ? number : nil
        }
    }

    /// A power of two within limits.
    static func powerOfTwo(_ range: ClosedRange<Value>) -> ValueType {
        ValueType(
            placeholder: "N", name: unsignedName(range.upperBound),
            expectation: "a power of two from \(range.lowerBound) to \(range.upperBound)"
        ) { text in
            guard let number = decimal(text).flatMap(Value.init(exactly:)) else { return nil }
            return range.contains(number) && number.nonzeroBitCount == 1 ? number : nil
        }
    }
}

extension ValueType where Value == UInt64 {
    /// A number of bytes with the unit K, M or G in either case, M when there is none; within limits.
    static func size(_ noun: String = "a size", _ range: ClosedRange<UInt64>) -> ValueType {
        ValueType(
            placeholder: "SIZE", name: "size",
            expectation: "\(noun) from \(sizeText(range.lowerBound)) to \(sizeText(range.upperBound))"
                + " (a number with the unit K, M or G, or M if it has none)"
        ) { text in
            guard let bytes = byteCount(text) else { return nil }
            return range.contains(bytes) ? bytes : nil
        }
    }
}

extension ValueType where Value == [Int32] {
    /// Open file descriptors, joined by colons.
    static let descriptors = ValueType(
        placeholder: "FD[:FD]...", expectation: "file descriptors joined by colons, such as 3 or 3:4"
    ) { text in
        var numbers: [Int32] = []
        for piece in text.split(atEach: .colon) {
            guard let number = decimal(piece).flatMap(Int32.init(exactly:)) else { return nil }
            numbers.append(number)
        }
        return numbers
    }
}

extension ValueType where Value == [Int] {
    /// StratoVirt's list of integers: `a`, `a-b`, joined by colons, in square brackets or not; each below `limit`.
    static func list(below limit: Int) -> ValueType {
        ValueType(
            placeholder: "N[-N][:N...]",
            expectation: "a list of numbers below \(limit) such as 0-3:8"
        ) { text in
            var bytes = text.utf8[...]
            if bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") {
                bytes = bytes.dropFirst().dropLast()
            }
            var numbers: [Int] = []
            for piece in String(Substring(bytes)).split(atEach: .colon) {
                let ends = piece.split(atEach: .dash).map { decimal($0).flatMap(Int.init(exactly:)) ?? limit }
                guard let first = ends.first, let last = ends.last, ends.count <= 2, last < limit else { return nil }
                guard ends.count == 1 || first < last else { return nil }
                numbers += first...last
                guard numbers.count <= limit else { return nil }
            }
            return numbers
        }
    }
}

/// The object model's name for integers up to `limit`.
private func unsignedName(_ limit: some FixedWidthInteger) -> String {
    limit <= UInt16.max ? "uint16" : limit <= UInt32.max ? "uint32" : "uint64"
}

/// A number of decimal digits and nothing else; nil for anything that does not fit 64 bits.
func decimal(_ text: String) -> UInt64? {
    guard !text.isEmpty else { return nil }
    var number: UInt64 = 0
    for byte in text.utf8 {
        guard case UInt8(ascii: "0")...UInt8(ascii: "9") = byte else { return nil }
        let (tens, tensOverflow) = number.multipliedReportingOverflow(by: 10)
        let (sum, sumOverflow) = tens.addingReportingOverflow(UInt64(byte &- UInt8(ascii: "0")))
        guard !tensOverflow, !sumOverflow else { return nil }
        number = sum
    }
    return number
}

/// The bytes of a StratoVirt size: digits and at most one unit letter; MiB without one.
func byteCount(_ text: String) -> UInt64? {
    let unit: UInt64
    switch text.utf8.last {
    case UInt8(ascii: "k"), UInt8(ascii: "K"): unit = 1 << 10
    case UInt8(ascii: "m"), UInt8(ascii: "M"): unit = 1 << 20
    case UInt8(ascii: "g"), UInt8(ascii: "G"): unit = 1 << 30
    default:
        guard let number = decimal(text) else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << 20)
        return overflow ? nil : bytes
    }
    guard let number = decimal(String(Substring(text.utf8.dropLast()))) else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: unit)
    return overflow ? nil : bytes
}

/// A number of bytes as a user would write it: the largest unit that divides it.
func sizeText(_ bytes: UInt64) -> String {
    for (letter, unit) in [("G", UInt64(1) << 30), ("M", 1 << 20), ("K", 1 << 10)]
    where bytes >= unit && bytes % unit == 0 {
        return "\(bytes / unit)\(letter)"
    }
    return bytes == 0 ? "0" : "\(bytes) bytes"
}
