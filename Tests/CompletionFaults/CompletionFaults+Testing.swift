package import Host
package import Testing

extension CompletionFaults {
    /// Expects that a scenario comes through with every bad end, in the process of an exit test, and prints how many
    /// there were.
    ///
    /// - Parameter least: how many operations the scenario must have, so that it keeps doing what it is for.
    package static func expectSurvival(
        _ name: String, atLeast least: Int, logging level: LogLevel = .error, _ scenario: (End?) throws -> Void
    ) {
        Log.setLevel(level)
        do {
            let faults = try CompletionFaults(of: scenario)
            print("\(name): \(faults.operations) operations, \(faults.failed) bad ends")
            #expect(faults.operations >= least)
            // A busy host may need more operations once than another time.
            #expect(faults.failed >= 8 * least)
        } catch {
            // Of an issue in another process, only the place is told.
            print("\(name): \(error)")
            Issue.record("\(name): \(error)")
        }
    }

    /// Prints what the process of an exit test has said.
    package static func show(_ result: ExitTest.Result?) {
        if let result { print(String(decoding: result.standardOutputContent, as: UTF8.self), terminator: "") }
    }
}
