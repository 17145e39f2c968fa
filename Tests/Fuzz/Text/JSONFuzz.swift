import ApusClient
import Control
import JSONText

/// JSON as the machine reads it: the same however it is cut, and the same again when it was written.
final class JSONFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let limits = JSONLimits(
            bytes: input.pick([64 << 10, 64, 8, 1024]), depth: input.pick([64, 4, 1]))
        let cut = input.below(256)
        let bytes = input.rest()
        let whole = Self.read([bytes], limits)
        try expect(Self.read(bytes.map { [$0] }, limits) == whole, "another outcome byte by byte")
        let place = min(cut, bytes.count)
        try expect(
            Self.read([Array(bytes[..<place]), Array(bytes[place...])], limits) == whole,
            "another outcome cut at \(cut)")
        for case .value(let value) in whole {
            let text = JSONWriter.text(value)
            let again = try? JSONValue(parsing: text, limits: JSONLimits(bytes: .max, depth: 64))
            try expect(again == value, "\(text) is read as \(again.map(JSONWriter.text) ?? "nothing")")
        }
    }

    private static func read(_ pieces: [[UInt8]], _ limits: JSONLimits) -> [JSONReader.Outcome] {
        var reader = JSONReader(limits: limits)
        var outcomes: [JSONReader.Outcome] = []
        for piece in pieces {
            var offset = 0
            while let outcome = reader.next(in: piece.span, from: &offset) { outcomes.append(outcome) }
        }
        return outcomes
    }
}

/// JSON as a client reads it: what the machine accepts, and the same again when it was written.
final class ClientJSONFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let text = String(decoding: input.rest(), as: UTF8.self)
        let client = try? JSON(parsing: text.utf8)
        let machine = try? JSONValue(parsing: text, limits: JSONLimits(bytes: .max, depth: 64))
        if machine != nil { try expect(client != nil, "a client cannot read \(text)") }
        if let client {
            let again = try? JSON(parsing: client.description.utf8)
            try expect(again == client, "\(client) is read as \(again?.description ?? "nothing")")
        }
    }
}
