import JSONText

/// Why a command failed, as the client is told.
package struct QMPError: Error, Equatable, Sendable {
    /// The word by which a client tells errors apart. QMP clients may meet more of them in time.
    package struct Class: Equatable, Sendable {
        package let name: String

        /// Nearly everything, as with StratoVirt: unknown commands and malformed input too.
        package static let generic = Class(name: "GenericError")
        /// The command needs a device that the guest has not activated.
        package static let deviceNotActive = Class(name: "DeviceNotActive")
        /// There is no device of that name.
        package static let deviceNotFound = Class(name: "DeviceNotFound")
    }

    package let errorClass: Class
    /// One sentence for people: what was wrong, where, and what would be right.
    package let description: String

    package init(_ description: String, class errorClass: Class = .generic) {
        self.errorClass = errorClass
        self.description = description
    }

    /// The value of a response's `error` member.
    var json: JSONValue {
        ["class": .string(errorClass.name), "desc": .string(description)]
    }
}
