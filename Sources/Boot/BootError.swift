package import Host
import Memory

/// An error in a boot file, the command line or the board's configuration.
package struct BootError: Error, Equatable, CustomStringConvertible {
    /// The file or option, as the user wrote it.
    package let place: String
    /// The faulty header field or property, by its name in the format's specification.
    package let field: String
    /// What failed, the cause and the remedy.
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
    /// Writes a structure of the boot protocol. The error for missing guest memory contains `name`.
    func place(_ bytes: [UInt8], at address: UInt64, as name: String) throws(BootError) {
        do {
            try write(bytes, at: GuestAddress(address))
        } catch {
            throw BootError(place: "guest memory", field: name, problem: "\(error)")
        }
    }
}

/// A number in hexadecimal with the prefix `0x`, for addresses and sizes.
func hex(_ value: some BinaryInteger) -> String {
    "0x" + String(value, radix: 16)
}
