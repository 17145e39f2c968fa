import JSONText
import TestSupport
import Testing

@testable import Control

/// A small generator whose sequence depends on its seed only (SplitMix64).
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct MutationTests {
    private static let seeds = [
        #"{"execute":"qmp_capabilities","arguments":{"enable":[]},"id":"a"}"#,
        #"{"execute":"query-status","id":17}"#,
        #"{"arguments":{},"execute":"query-cpus","id":{"x":[1.5e3,null,true]}}"#,
        #"{"execute":"stop"}{"execute":"cont"}"#,
        #"{"execute":"query-block","id":"\ud83d\ude00\u00e9\\\""}"#,
    ].map { Array($0.utf8) }

    private static func mutate(_ bytes: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...6, using: &generator) where !bytes.isEmpty {
            let place = Int.random(in: bytes.indices, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[place] = UInt8.random(in: .min ... .max, using: &generator)
            case 1: bytes.remove(at: place)
            case 2: bytes.insert(UInt8.random(in: .min ... .max, using: &generator), at: place)
            case 3: bytes.insert(contentsOf: bytes[..<place], at: place)
            case 4: bytes.insert(Array("{}[]\",:\\\n\0-1e".utf8).randomElement(using: &generator) ?? 0, at: place)
            default: bytes.removeSubrange(place...)
            }
        }
        return bytes
    }

    /// Whatever a client sends, cut anywhere: every answer is a whole line of JSON, and after a line's end and 0xFF
    /// the next command is understood.
    @Test func survivesMutatedCommands() throws {
        var generator = SeededGenerator(state: 2)
        let session = QMPSession.forTest(FakeMachine())
        _ = session.takeOutput()
        for round in 0..<10_000 {
            let input = Self.mutate(Self.seeds[round % Self.seeds.count], &generator)
            let cut = Int.random(in: 0...input.count, using: &generator)
            session.receive(Array(input[..<cut]).span)
            while session.process(atMost: 4) {}
            session.receive((Array(input[cut...]) + [0xFF]).span)
            while session.process(atMost: 4) {}
            let answers = session.takeText()
            #expect(answers.isEmpty || answers.hasSuffix("\r\n"))
            for line in answers.split(separator: "\r\n") {
                let answer = try JSONValue(parsing: String(line), limits: JSONLimits(bytes: 1 << 20, depth: 80))
                #expect(answer["return"] != nil || answer["error"] != nil)
            }
            #expect(session.exchange(#"{"execute":"query-kvm","id":1}"#).hasSuffix("\"present\":true},\"id\":1}\r\n"))
        }
    }

    /// The line feed alone does it too, at the latest with the line after next.
    @Test func findsBackByLines() {
        var generator = SeededGenerator(state: 3)
        let good = #"{"execute":"query-kvm","id":1}"# + "\n"
        for round in 0..<2_000 {
            let session = QMPSession.forTest(FakeMachine())
            _ = session.exchange("")
            session.receive((Self.mutate(Self.seeds[round % Self.seeds.count], &generator) + [0x0A]).span)
            let answers = session.exchange(good + good)
            #expect(answers.hasSuffix("\"present\":true},\"id\":1}\r\n"))
        }
    }
}
