import Foundation
import Testing

@testable import Control

@Suite struct QMPReferenceTests {
    private static let file = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Sources/apus/apus.docc/QMP.md").standardizedFileURL

    /// `hack/qmp-docs` sets the variable, and thereby brings the file up to date.
    @Test func isWhatTheTablesSay() throws {
        if ProcessInfo.processInfo.environment["WRITE_QMP_REFERENCE"] != nil {
            try QMPReference.text.write(to: Self.file, atomically: true, encoding: .utf8)
        }
        let written = try String(contentsOf: Self.file, encoding: .utf8)
        #expect(written == QMPReference.text, "run hack/qmp-docs")
    }

    @Test func hasEveryCommandAndEvent() {
        let headings = Set(
            QMPReference.text.split(separator: "\n").filter { $0.hasPrefix("### ") }.map { $0.dropFirst(4) })
        for command in CommandTable.standard.commands { #expect(headings.contains(Substring(command.name))) }
        for event in QMPEvent.Name.allCases { #expect(headings.contains(Substring(event.rawValue))) }
    }
}
