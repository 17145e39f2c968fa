package import JSONText

/// What a value on the protocol may be: an argument, an answer, or a piece of an event. The same type checks what
/// clients send, describes it in `query-qmp-schema`, and writes its line in `qmp.md`.
package indirect enum QMPType: Hashable, Sendable {
    /// Any value.
    case any
    case string
    case boolean
    /// An integer within the range.
    case integer(ClosedRange<UInt64>)
    /// An integer or a number with a fraction.
    case number
    /// One of these words.
    case choice([String])
    case list(of: QMPType)
    /// An object with these members, and with others only if it is `open`.
    case structure([QMPMember], open: Bool = false)

    /// Any integer that is not negative.
    package static let natural = QMPType.integer(0...UInt64.max)
    package static let array = QMPType.list(of: .any)
    /// An object with any members.
    package static let object = QMPType.structure([], open: true)
    /// The empty object: what most commands return.
    package static let nothing = QMPType.structure([])

    /// The type in the words of an error message.
    var description: String {
        switch self {
        case .any: "a value"
        case .string: "a string"
        case .boolean: "a boolean"
        case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
        case .number: "a number"
        case .choice(let words) where words.count == 1: "'\(words[0])'"
        case .choice(let words): "one of \(words.map { "'\($0)'" }.joined(separator: ", "))"
        case .list: "an array"
        case .structure: "an object"
        }
    }
}

/// A member of an object: one argument of a command, or one field of an answer or event.
package struct QMPMember: Hashable, Sendable {
    package let name: String
    package let type: QMPType
    /// What it means, as the rest of a line; empty where the name says it.
    package let summary: String
    package let isOptional: Bool

    package init(_ name: String, _ type: QMPType, _ summary: String = "", optional isOptional: Bool = false) {
        self.name = name
        self.type = type
        self.summary = summary
        self.isOptional = isOptional
    }
}

// MARK: - Checking values

extension QMPType {
    /// What keeps `value` from being of this type, as a sentence about an argument; nil if nothing does.
    ///
    /// - Parameter path: where the value stands, such as `cache.direct`.
    func objection(to value: JSONValue, at path: String) -> String? {
        switch (self, value) {
        case (.any, _), (.boolean, .bool): nil
        case (.string, .string(let text)):
            // It would end early on its way through a C interface.
            text.utf8.contains(0) ? "argument '\(path)' contains a NUL character" : nil
        case (.integer(let range), .integer), (.integer(let range), .unsigned):
            value.natural.map(range.contains) == true ? nil : "argument '\(path)' must be \(description)"
        case (.number, .integer), (.number, .unsigned), (.number, .number): nil
        case (.choice(let words), .string(let word)):
            words.contains(word) ? nil : "argument '\(path)' must be \(description)"
        case (.list(let type), .array(let elements)):
            elements.enumerated().lazy.compactMap { type.objection(to: $1, at: "\(path)[\($0)]") }.first
        case (.structure(let members, let open), .object(let object)):
            Self.objection(to: object, members: members, open: open, at: "\(path).")
        default: "argument '\(path)' must be \(description), not \(value.kind)"
        }
    }

    /// The same for the members of an object, each of which is named with `prefix` before it.
    static func objection(
        to object: JSONObject, members: [QMPMember], open: Bool, at prefix: String = ""
    ) -> String? {
        for member in members {
            guard let value = object[member.name] else {
                if member.isOptional { continue }
                return "argument '\(prefix)\(member.name)' is missing"
            }
            if let objection = member.type.objection(to: value, at: prefix + member.name) { return objection }
        }
        guard !open, let other = object.members.first(where: { given in !members.contains { $0.name == given.name } })
        else { return nil }
        return "unknown argument '\(prefix)\(other.name)'"
    }
}

extension JSONValue {
    /// The integer, if it is one and not negative.
    package var natural: UInt64? {
        switch self {
        case .integer(let value): UInt64(exactly: value)
        case .unsigned(let value): value
        default: nil
        }
    }
}
