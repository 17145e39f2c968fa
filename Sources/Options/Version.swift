/// The version of Apus, as `-version` and QMP's greeting name it.
package enum Version {
    /// The number alone, as semantic versioning has it.
    package static let number = "0.1.0"
}
