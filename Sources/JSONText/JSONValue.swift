/// One JSON value (RFC 8259). Numbers keep the exact integer where one was written.
package enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    /// An integer within Int64.
    case integer(Int64)
    /// An integer above `Int64.max` and within UInt64; smaller ones are `integer`.
    case unsigned(UInt64)
    /// A number with a fraction or an exponent, or an integer that neither type above can hold.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    /// The object without members, which most commands answer with.
    package static let emptyObject = JSONValue.object(JSONObject())

    /// The integer as the narrowest case that holds it.
    package init(_ value: some BinaryInteger) {
        if let signed = Int64(exactly: value) {
            self = .integer(signed)
        } else if let unsigned = UInt64(exactly: value) {
            self = .unsigned(unsigned)
        } else {
            self = .number(Double(value))
        }
    }

    /// What the value is, in the words of an error message.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .unsigned, .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    /// The member of that name, or nil if there is none or the value is no object.
    package subscript(name: String) -> JSONValue? {
        guard case .object(let object) = self else { return nil }
        return object[name]
    }
}

/// The members of a JSON object in the order they were written.
package struct JSONObject: Equatable, Sendable {
    /// One name and its value.
    package struct Member: Equatable, Sendable {
        package var name: String
        package var value: JSONValue

        package init(name: String, value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// All members; their names differ (the reader sees to it for what it reads).
    package var members: [Member]

    package init(_ members: [Member] = []) {
        self.members = members
    }

    /// The value of the member of that name. The search is linear: objects on this protocol are small.
    package subscript(name: String) -> JSONValue? {
        members.first { $0.name == name }?.value
    }

    /// Adds a member at the end.
    package mutating func append(_ name: String, _ value: JSONValue) {
        members.append(Member(name: name, value: value))
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        members = elements.map { Member(name: $0.0, value: $0.1) }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONObject(elements.map { JSONObject.Member(name: $0.0, value: $0.1) }))
    }
    package init(nilLiteral: ()) { self = .null }
}
