/// One `key=value` of an option, or one member of a QMP command's arguments.
package struct KeyValue: Equatable, Sendable {
    package let key: String
    /// Nil for a bare word such as `server`.
    package let value: String?

    package init(_ key: String, _ value: String?) {
        self.key = key
        self.value = value
    }
}

/// An option's value, or a QMP command's arguments, as keys and texts: what every spec is decoded from.
///
/// QMP's callers render a JSON number in decimal, a boolean as `true` or `false`, and a member of a nested object
/// under its dotted name (`file.filename`).
package struct KeyValueList: Equatable, Sendable {
    /// Where the list comes from, for errors: `-drive`, `device_add`.
    package let option: String
    /// The key that a bare first word belongs to: `type` for `-machine microvm`. Errors about it don't repeat it.
    package let firstKey: String?
    package let pairs: [KeyValue]
    /// How a QMP client writes the keys that it writes otherwise; nil for a command line.
    let spellings: [String: String]?

    package init(option: String, firstKey: String? = nil, pairs: [KeyValue], spellings: [String: String]? = nil) {
        self.option = option
        self.firstKey = firstKey
        self.pairs = pairs
        self.spellings = spellings
    }

    /// Splits `word,key=value,flag` at its commas and each piece at its equals sign.
    ///
    /// StratoVirt knows no escape: a value has neither `,` nor `=`. Double quotes around a value are taken off.
    /// Throws an error for an empty piece, a piece without a key and a second equals sign.
    package init(option: String, firstKey: String? = nil, parsing text: String) throws(OptionError) {
        var pairs: [KeyValue] = []
        for piece in text.split(atEach: .comma) {
            guard !piece.isEmpty || text.isEmpty else {
                throw OptionError(
                    option: option, offending: text, problem: "\(quoted(text)) has an empty piece",
                    remedy: "pieces are separated by one comma, and a value cannot contain commas")
            }
            let parts = piece.split(atEach: .equals)
            switch parts.count {
            case 1 where pairs.isEmpty && firstKey != nil:
                pairs.append(KeyValue(firstKey ?? "", piece.withoutQuotes))
            case 1:
                pairs.append(KeyValue(piece, nil))
            case 2 where !parts[0].isEmpty:
                pairs.append(KeyValue(parts[0], parts[1].withoutQuotes))
            case 2:
                throw OptionError(
                    option: option, offending: piece, problem: "\(quoted(piece)) has no key before its equals sign")
            default:
                throw OptionError(
                    option: option, offending: piece, problem: "\(quoted(piece)) has a second equals sign",
                    remedy: "a value cannot contain one")
            }
        }
        self.init(option: option, firstKey: firstKey, pairs: pairs)
    }

    /// The value given for `key` first; nil if there is none.
    func text(of key: String) -> String? {
        pairs.first { $0.key == key }?.value
    }

    /// The same list under another heading, once the type is known, and without the first pair of the key that told
    /// it. A second one stays, to be found out.
    func titled(_ option: String, without key: String? = nil) -> KeyValueList {
        var rest = pairs
        if let index = pairs.firstIndex(where: { $0.key == key }) { rest.remove(at: index) }
        return KeyValueList(option: option, firstKey: key == nil ? firstKey : nil, pairs: rest, spellings: spellings)
    }

    /// The key as the user writes it.
    func spelling(of key: String) -> String { spellings?[key] ?? key }

    /// What to write in place of what is missing; nil for QMP, where a message names the member only.
    func advice(_ text: String) -> String? { spellings == nil ? text : nil }
}

extension UInt8 {
    static let comma = UInt8(ascii: ",")
    static let equals = UInt8(ascii: "=")
    static let colon = UInt8(ascii: ":")
    static let dash = UInt8(ascii: "-")
    static let quote = UInt8(ascii: "\"")
    static let space = UInt8(ascii: " ")
}

extension String {
    /// The pieces between `separator`s, byte by byte: a combining mark after a comma does not hide the comma.
    func split(atEach separator: UInt8) -> [String] {
        utf8.split(separator: separator, omittingEmptySubsequences: false).map { String(Substring($0)) }
    }

    /// The text without the double quotes around it, if it has both.
    var withoutQuotes: String {
        guard utf8.count >= 2, utf8.first == .quote, utf8.last == .quote else { return self }
        return String(Substring(utf8.dropFirst().dropLast()))
    }
}
