import Foundation
import Fuzz
import Host
import TestSupport
import Testing

/// What fuzzers have found once, and some thousands of inputs that are always the same.
@Suite struct ReplayTests {
    static let subjects = FuzzSubjects.all.map(\.key)

    private static let corpora = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fuzz/Corpora")

    @Test(arguments: subjects) func corpus(of name: String) throws {
        Log.setLevel(.error)
        let folder = Self.corpora.appending(path: name)
        let subject = try #require(FuzzSubjects.type(named: name)).init()
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            var input = FuzzInput([UInt8](try Data(contentsOf: file)))
            #expect(throws: Never.self, "\(file.lastPathComponent)") { try subject.fuzz(&input) }
        }
    }

    @Test(arguments: subjects) func inputsOfChance(for name: String) throws {
        Log.setLevel(.error)
        let subject = try #require(FuzzSubjects.type(named: name)).init()
        var random = RandomBytes(seed: Chance.seed(5))
        let deadline = Chance.isLong ? .max : Clock.monotonic + 400_000_000
        let count = Chance.cases(3000)
        for number in 0..<count where Clock.monotonic < deadline {
            let bytes = random.bytes(random.below(400))
            do {
                var input = FuzzInput(bytes)
                try subject.fuzz(&input)
            } catch {
                Issue.record("input \(number), \(bytes): \(error)")
                return
            }
        }
        Chance.report(count, of: name)
    }

    /// A folder that no subject has would be replayed by nobody.
    @Test func eachCorpusHasItsSubject() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.corpora.path)
        #expect(Set(folders) == Set(Self.subjects))
    }
}
