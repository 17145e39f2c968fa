import JSONText

/// A JSON value: what QMP commands take and answer with.
///
/// Literals are values (`["id": "disk1", "slot": 3]`); members and elements are had by subscripts, which are nil where
/// there is none, so that a path into an answer needs no ladder of checks: `answer["inserted"]?["ro"]?.boolValue`.
public enum JSON: Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// A number with a fraction or an exponent, or an integer beyond `Int64`.
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    /// The member of that name, if this is an object that has it.
    public subscript(name: String) -> JSON? { objectValue?[name] }

    /// The element at that index, if this is an array that has it.
    public subscript(index: Int) -> JSON? {
        guard let elements = arrayValue, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    /// The boolean, if this is one.
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The integer, if this is one.
    public var intValue: Int64? { if case .integer(let value) = self { value } else { nil } }
    /// The string, if this is one.
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The elements, if this is an array.
    public var arrayValue: [JSON]? { if case .array(let value) = self { value } else { nil } }
    /// The members, if this is an object.
    public var objectValue: [String: JSON]? { if case .object(let value) = self { value } else { nil } }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(Dictionary(elements) { _, last in last })
    }
    public init(nilLiteral: ()) { self = .null }
}

extension JSON {
    /// Reads one value (RFC 8259) with nothing but blanks around it. An object's members must have different names.
    ///
    /// - Throws: `malformed`, with the reason and the place of the first error.
    public init(parsing text: some Sequence<UInt8>) throws(ClientError) {
        do throws(JSONError) {
            self.init(try JSONValue(parsing: text, limits: JSONLimits(bytes: .max, depth: 100)))
        } catch {
            throw .malformed("\(error)")
        }
    }

    private init(_ value: JSONValue) {
        self =
            switch value {
            case .null: .null
            case .bool(let value): .bool(value)
            case .integer(let value): .integer(value)
            case .unsigned(let value): .number(Double(value))
            case .number(let value): .number(value)
            case .string(let text): .string(text)
            case .array(let elements): .array(elements.map { JSON($0) })
            case .object(let object):
                .object(Dictionary(object.members.map { ($0.name, JSON($0.value)) }) { first, _ in first })
            }
    }
}

extension JSON: CustomStringConvertible {
    /// The shortest text, with members in the order of their names.
    public var description: String { JSONWriter.text(value) }

    private var value: JSONValue {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .integer(let value): .integer(value)
        case .number(let value): .number(value)
        case .string(let text): .string(text)
        case .array(let elements): .array(elements.map(\.value))
        case .object(let members):
            .object(
                JSONObject(
                    members.sorted { $0.key < $1.key }.map { JSONObject.Member(name: $0.key, value: $0.value.value) }))
        }
    }
}
