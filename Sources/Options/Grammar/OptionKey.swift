/// What help, errors and schemas say about one key of an option.
package struct KeyDescription: Equatable, Sendable {
    /// Whether the key must be there, and what holds when it is not.
    package enum Presence: Equatable, Sendable {
        case required
        case optional
        /// The text that is read in the key's place.
        case standard(String)
        /// A bare word without value, present or not.
        case flag
        /// A bare word that must be there.
        case requiredFlag
    }

    package let name: String
    /// How help writes the value: `on|off`, `N`, `PATH`; empty for a bare word.
    package let placeholder: String
    /// The type's name in QEMU's object model: `bool`, `uint16`, `str`, …
    package let type: String
    package let presence: Presence
    /// One line for help.
    package let summary: String

    /// Whether it is a bare word.
    package var isFlag: Bool { presence == .flag || presence == .requiredFlag }
}

/// One key of an option: its name, its type, what it means. The same table row decodes the key, explains a mistake in
/// it and prints its help.
struct OptionKey<Value: Sendable>: Sendable {
    let description: KeyDescription
    let type: ValueType<Value>

    var name: String { description.name }

    init(_ name: String, _ type: ValueType<Value>, _ presence: KeyDescription.Presence, _ summary: String) {
        description = KeyDescription(
            name: name, placeholder: type.placeholder, type: type.name, presence: presence, summary: summary)
        self.type = type
    }

    /// A key that may be left out and then has no value.
    init(_ name: String, _ type: ValueType<Value>, _ summary: String) {
        self.init(name, type, .optional, summary)
    }
}

extension OptionKey where Value == Bool {
    /// A word that is there or not, such as `server`.
    static func flag(_ name: String, required: Bool = false, _ summary: String) -> OptionKey<Bool> {
        OptionKey(name, .flag, required ? .requiredFlag : .flag, summary)
    }
}

/// The values of one list, read key by key after the list as a whole was found to hold known keys only, each once.
struct KeyReader {
    private let list: KeyValueList

    /// Throws an error for a key that `keys` does not have, one given twice, a value where none belongs, or none where
    /// one does; in the order in which they were written.
    init(_ list: KeyValueList, keys: [KeyDescription]) throws(OptionError) {
        // No pair gets past this loop that is unknown or there already, so few are looked at for each.
        for (index, pair) in list.pairs.enumerated() {
            guard let key = keys.first(where: { $0.name == pair.key }) else {
                throw list.unknownKey(pair.key, known: keys.map(\.name))
            }
            if key.isFlag, let value = pair.value {
                throw OptionError(
                    option: list.option, offending: value, problem: "\(list.quotedSpelling(of: key)) takes no value",
                    remedy: list.advice("write just \(key.name)"))
            }
            if !key.isFlag, pair.value == nil {
                throw OptionError(
                    option: list.option, offending: pair.key, problem: "\(list.quotedSpelling(of: key)) needs a value",
                    remedy: list.advice("write \(key.name)=\(key.placeholder)"))
            }
            guard !list.pairs[..<index].contains(where: { $0.key == pair.key }) else {
                throw OptionError(
                    option: list.option, offending: pair.key, problem: "\(list.quotedSpelling(of: key)) is given twice")
            }
        }
        self.list = list
    }

    /// Where the list comes from, for errors of the caller's own.
    var option: String { list.option }

    /// The key as the user writes it.
    func name<Value>(of key: OptionKey<Value>) -> String { list.spelling(of: key.name) }

    /// Whether the key was written.
    func has<Value>(_ key: OptionKey<Value>) -> Bool { list.pairs.contains { $0.key == key.name } }

    /// The value, or the key's standard one. Throws an error if it is missing or not of the key's type.
    func value<Value>(_ key: OptionKey<Value>) throws(OptionError) -> Value {
        if let value = try optional(key) { return value }
        if case .standard(let text) = key.description.presence { return try parse(text, as: key) }
        throw missing(key)
    }

    /// The value, or nil if it was not given. Throws an error if it is not of the key's type.
    func optional<Value>(_ key: OptionKey<Value>) throws(OptionError) -> Value? {
        guard let text = list.text(of: key.name) else { return nil }
        return try parse(text, as: key)
    }

    /// Whether the word is there. Throws an error if it must be and is not.
    func flag(_ key: OptionKey<Bool>) throws(OptionError) -> Bool {
        guard has(key) || key.description.presence != .requiredFlag else { throw missing(key) }
        return has(key)
    }

    /// The error for a key that must be there.
    func missing<Value>(_ key: OptionKey<Value>) -> OptionError {
        let example = key.description.isFlag ? key.name : "\(key.name)=\(key.description.placeholder)"
        return OptionError(
            option: list.option, problem: "\(quoted(name(of: key))) is missing",
            remedy: list.advice("write \(example)"))
    }

    /// An error about the value that was given for `key`, which the problem goes on from.
    func error<Value>(_ key: OptionKey<Value>, _ problem: String, remedy: String? = nil) -> OptionError {
        let name = name(of: key)
        let offending = list.text(of: key.name)
        let subject = offending.map { key.name == list.firstKey ? quoted($0) : "\(name): \(quoted($0))" } ?? name
        return OptionError(
            option: list.option, offending: offending, problem: "\(subject) \(problem)", remedy: remedy)
    }

    private func parse<Value>(_ text: String, as key: OptionKey<Value>) throws(OptionError) -> Value {
        if let value = key.type.parse(text) { return value }
        throw error(key, "is not \(key.type.expectation)")
    }
}

extension KeyValueList {
    fileprivate func quotedSpelling(of key: KeyDescription) -> String { quoted(spelling(of: key.name)) }

    /// The error for a key that the option does not have.
    func unknownKey(_ key: String, known: [String]) -> OptionError {
        let known = known.filter { $0 != firstKey }.map { spelling(of: $0) }
        let remedy =
            nearest(to: key, among: known).map { "did you mean \(quoted($0))?" }
            ?? (known.isEmpty ? "there are no keys here" : "known keys: \(known.joined(separator: ", "))")
        return OptionError(option: option, offending: key, problem: "unknown key \(quoted(key))", remedy: remedy)
    }
}
