package import EventLoop
import FailingRing
import Glibc
import Host

/// Has every operation that a scenario gives the ring end badly: it counts them, and then runs the scenario anew
/// for each operation and each bad end.
package struct CompletionFaults {
    /// How one operation ends.
    package struct End: Equatable, CustomStringConvertible {
        /// Which operation of the scenario, from 0 on.
        package let position: Int
        /// Below zero an error; 0 or 1 the bytes transferred.
        package let result: Int32

        package var description: String {
            let what = result < 0 ? "\(Errno(rawValue: -result))" : "\(result) bytes"
            return "operation \(position) ends with: \(what)"
        }
    }

    /// How many operations the scenario has, and how many were made to end badly.
    package private(set) var operations = 0
    package private(set) var failed = 0

    private static let results: [Int32] =
        [
            Errno.ioError, .noSpace, .interrupted, .again, .canceled, .noMemory, .connectionReset, .badDescriptor,
        ].map { -$0.rawValue } + [0, 1]

    /// A scenario that did not come through, or left something.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Runs `scenario` without a fault, and then with each; in a process that runs nothing else, whose descriptors are
    /// counted.
    ///
    /// - Parameter scenario: makes a reactor of its own and sees in the end that it `isAtRest`. Gets the bad end that there
    ///   will be, which it must survive; nil at first.
    /// - Throws: a `Failure` at the first that is not survived.
    package init(of scenario: (End?) throws -> Void) throws {
        defer { failing_ring_end() }
        // The first time is not like the others: some things are made once for all.
        for _ in 0..<2 { try Self.run(scenario, nil) }
        operations = Int(failing_ring_count())
        var open = Self.settledDescriptors(for: 200_000_000)
        for position in 0..<operations {
            for result in Self.results {
                let end = End(position: position, result: result)
                try Self.run(scenario, end)
                if failing_ring_failed() >= 0 { failed += 1 }
                guard Self.settledDescriptors(expecting: open, for: 2_000_000_000) != open else { continue }
                // Something else in the process may have opened one; it will not do so again.
                open = Self.openDescriptors
                try Self.run(scenario, end)
                let left = Self.settledDescriptors(expecting: open, for: 2_000_000_000) - open
                if left > 0 { throw Failure(description: "\(end): \(left) descriptors are left") }
            }
        }
    }

    private static func run(_ scenario: (End?) throws -> Void, _ end: End?) throws {
        failing_ring_begin(Int64(end?.position ?? -1), end?.result ?? 0)
        do {
            try scenario(end)
        } catch {
            throw Failure(description: "\(end?.description ?? "no bad end"): \(error)")
        }
    }

    /// How many descriptors are open when a thread that plays the other side has had time to close its own.
    private static func settledDescriptors(expecting expected: Int = -1, for nanoseconds: UInt64) -> Int {
        let deadline = Clock.monotonic + nanoseconds
        while true {
            let count = openDescriptors
            if count == expected || Clock.monotonic >= deadline { return count }
            usleep(100)
        }
    }

    /// How many descriptors this process has open.
    private static var openDescriptors: Int { Int(failing_ring_open_descriptors()) }

    /// Whether nothing is under way on a reactor any more but its own wait for other threads, or will be in a moment.
    package static func isAtRest(_ reactor: Reactor) -> Bool {
        let deadline = Clock.monotonic + 5_000_000_000
        while Clock.monotonic < deadline {
            reactor.turn(waiting: false)
            if failing_ring_in_flight() <= 1 { return true }
            usleep(100)
        }
        return false
    }
}
