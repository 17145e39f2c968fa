package import Host
import Memory

/// What a guest cannot be booted with: a file, a command line or a machine, and which part of it is wrong.
package struct BootError: Error, Equatable, CustomStringConvertible {
    /// The file or option, as the user wrote it.
    package let place: String
    /// The header's field or the property that is wrong, by its name in the format's specification.
    package let field: String
    /// What is wrong with it, and what would be right.
    package let problem: String

    package init(place: String, field: String, problem: String) {
        self.place = place
        self.field = field
        self.problem = problem
    }

    /// A failure to open or read `place`.
    package init(place: String, cause: Errno) {
        self.init(place: place, field: "file", problem: "cannot be read: \(cause)")
    }

    package var description: String { "\(place): \(field): \(problem)" }
}

extension GuestMemory {
    /// Writes a structure of the boot protocol; `name` stands in the error where there is no memory for it.
    func place(_ bytes: [UInt8], at address: UInt64, as name: String) throws(BootError) {
        do {
            try write(bytes, at: GuestAddress(address))
        } catch {
            throw BootError(place: "guest memory", field: name, problem: "\(error)")
        }
    }
}

/// A number as specifications write addresses and sizes.
func hex(_ value: some BinaryInteger) -> String {
    "0x" + String(value, radix: 16)
}
