import Boot

/// Why a machine could not be started: which option or part, what was wrong, and what would be right.
package struct MachineError: Error, CustomStringConvertible {
    /// The option or the part of the machine.
    package let place: String
    package let problem: String

    package init(_ place: String, _ problem: String) {
        self.place = place
        self.problem = problem
    }

    /// A guest that cannot be booted: the place is the file's option.
    init(_ error: BootError) {
        self.init(error.place, "\(error.field): \(error.problem)")
    }

    package var description: String { "\(place): \(problem)" }
}
