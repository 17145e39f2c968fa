/// Reads JSON values from a stream of bytes, however the stream was cut into pieces.
///
/// It is a push-down automaton that looks at each byte once, so a value that arrives a byte at a time costs no more
/// than one that arrives whole, and nothing beyond `JSONLimits` is ever kept.
///
/// After an error it skips to where the next value may begin (`Recovery`), so one bad command costs one error.
/// Between values it passes over blanks, and over NUL and 0xFF, which clients use to clear a parser's state.
package struct JSONReader {
    /// What the input held next.
    package enum Outcome: Equatable, Sendable {
        case value(JSONValue)
        case malformed(JSONError)
    }

    /// What may come next, between tokens.
    enum Expectation {
        case value
        case valueOrEnd
        case name
        case nameOrEnd
        case colon
        case commaOrEnd
    }

    /// The token being read.
    enum Token {
        case none
        case string(Escape)
        case number
        case literal(Literal, matched: Int)
    }

    /// An array or object that has been opened and not yet closed.
    struct Container {
        let isObject: Bool
        var members: [JSONObject.Member] = []
        var names: Set<String> = []
        var name = ""
        var elements: [JSONValue] = []
    }

    let limits: JSONLimits
    var expectation = Expectation.value
    var token = Token.none
    var stack: [Container] = []
    /// The bytes of the string or number being read.
    var scratch: [UInt8] = []
    /// The first half of a surrogate pair whose second half must follow.
    var highSurrogate: UInt16?
    /// Bytes of the current value so far; 0 between values.
    var size = 0
    /// Whether the value goes on in a new line of which only blanks were seen.
    var atLineStart = false
    var complete: JSONValue?
    var recovery: Recovery?

    package init(limits: JSONLimits = JSONLimits()) {
        self.limits = limits
    }

    /// Whether no value is half read.
    package var isIdle: Bool { size == 0 && recovery == nil }

    /// Reads up to the end of the next value or to the next error, and moves `offset` behind it.
    /// Returns nil when all bytes are used up and the value goes on in bytes yet to come.
    package mutating func next(in bytes: Span<UInt8>, from offset: inout Int) -> Outcome? {
        while offset < bytes.count {
            let byte = bytes[offset]
            if recovery != nil {
                offset &+= 1
                skip(byte)
                continue
            }
            do throws(JSONError) {
                if case .number = token, !Self.mayContinueNumber(byte) {
                    try finishNumber()
                    if let value = takeComplete() { return .value(value) }
                }
                try step(byte)
            } catch {
                if beginsAfresh(byte, after: error) {
                    reset()
                } else {
                    recover(from: byte)
                    offset &+= 1
                }
                return .malformed(error)
            }
            offset &+= 1
            if let value = takeComplete() { return .value(value) }
        }
        return nil
    }

    private mutating func step(_ byte: UInt8) throws(JSONError) {
        let isBlank = byte == .space || byte == .tab || byte == .newline || byte == .carriageReturn
        if size == 0 {
            if isBlank || byte == 0 || byte == 0xFF { return }
            atLineStart = false
        }
        size &+= 1
        if size > limits.bytes { throw failure(.tooLong(limit: limits.bytes)) }
        switch token {
        case .string(let escape): try continueString(byte, escape)
        case .number: scratch.append(byte)
        case .literal(let literal, let matched): try continueLiteral(byte, literal, matched)
        case .none:
            if byte == .newline {
                atLineStart = true
            } else if !isBlank {
                try begin(byte)
                atLineStart = false
            }
        }
    }

    /// Takes the first byte of a token.
    private mutating func begin(_ byte: UInt8) throws(JSONError) {
        switch (expectation, byte) {
        case (.colon, .colon): expectation = .value
        case (.colon, _): throw failure(.expected("':' after a member's name"))
        case (.commaOrEnd, .comma): expectation = stack.last?.isObject == true ? .name : .value
        case (.commaOrEnd, .closeBrace), (.nameOrEnd, .closeBrace): try close(object: true)
        case (.commaOrEnd, .closeBracket), (.valueOrEnd, .closeBracket): try close(object: false)
        case (.commaOrEnd, _): throw failure(.expected(stack.last?.isObject == true ? "',' or '}'" : "',' or ']'"))
        case (.name, .quote), (.nameOrEnd, .quote): token = .string(.none)
        case (.name, _): throw failure(.expected("a member's name"))
        case (.nameOrEnd, _): throw failure(.expected("a member's name or '}'"))
        case (.value, _), (.valueOrEnd, _): try beginValue(byte)
        }
    }

    private mutating func beginValue(_ byte: UInt8) throws(JSONError) {
        switch byte {
        case .openBrace: try open(object: true)
        case .openBracket: try open(object: false)
        case .quote: token = .string(.none)
        case .minus, .zero ... .nine:
            token = .number
            scratch.append(byte)
        default:
            guard let literal = Literal(firstByte: byte) else { throw failure(.expected("a value")) }
            token = .literal(literal, matched: 1)
        }
    }

    private mutating func open(object isObject: Bool) throws(JSONError) {
        guard stack.count < limits.depth else { throw failure(.tooDeep(limit: limits.depth)) }
        stack.append(Container(isObject: isObject))
        expectation = isObject ? .nameOrEnd : .valueOrEnd
    }

    private mutating func close(object isObject: Bool) throws(JSONError) {
        guard let container = stack.last, container.isObject == isObject else {
            throw failure(.expected(isObject ? "',' or ']'" : "',' or '}'"))
        }
        stack.removeLast()
        attach(isObject ? .object(JSONObject(container.members)) : .array(container.elements))
    }

    /// Puts a finished value where it belongs: into the innermost container, or out.
    mutating func attach(_ value: JSONValue) {
        token = .none
        scratch.removeAll(keepingCapacity: true)
        guard let top = stack.indices.last else {
            complete = value
            return
        }
        if stack[top].isObject {
            stack[top].members.append(JSONObject.Member(name: stack[top].name, value: value))
        } else {
            stack[top].elements.append(value)
        }
        expectation = .commaOrEnd
    }

    private mutating func takeComplete() -> JSONValue? {
        guard let value = complete else { return nil }
        reset()
        return value
    }

    /// Back to where a value may begin.
    mutating func reset() {
        expectation = .value
        token = .none
        stack.removeAll(keepingCapacity: true)
        // One long string must not be paid for as long as its client stays.
        scratch.removeAll(keepingCapacity: scratch.capacity <= 4096)
        highSurrogate = nil
        size = 0
        complete = nil
    }

    func failure(_ reason: JSONError.Reason) -> JSONError {
        JSONError(reason: reason, position: size)
    }
}

extension JSONValue {
    /// The one value that `text` holds.
    package init(parsing text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) {
        try self.init(parsing: text.utf8, limits: limits)
    }

    /// The one value that `text` holds, in UTF-8.
    package init(parsing text: some Sequence<UInt8>, limits: JSONLimits = JSONLimits()) throws(JSONError) {
        var reader = JSONReader(limits: limits)
        // A number ends only where something else begins.
        let bytes = Array(text) + [.newline]
        var offset = 0
        switch reader.next(in: bytes.span, from: &offset) {
        case .value(let value): self = value
        case .malformed(let error): throw error
        case nil: throw JSONError(reason: .unfinished, position: bytes.count)
        }
        switch reader.next(in: bytes.span, from: &offset) {
        case nil where reader.isIdle: return
        default: throw JSONError(reason: .expected("nothing after the value"), position: offset)
        }
    }
}

/// The bytes that JSON's grammar names.
extension UInt8 {
    static let tab: UInt8 = 0x09
    static let newline: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let quote: UInt8 = 0x22
    static let comma: UInt8 = 0x2C
    static let minus: UInt8 = 0x2D
    static let zero: UInt8 = 0x30
    static let nine: UInt8 = 0x39
    static let colon: UInt8 = 0x3A
    static let openBracket: UInt8 = 0x5B
    static let backslash: UInt8 = 0x5C
    static let closeBracket: UInt8 = 0x5D
    static let openBrace: UInt8 = 0x7B
    static let closeBrace: UInt8 = 0x7D
}
