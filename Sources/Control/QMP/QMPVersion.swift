import JSONText

/// Who the greeting and `query-version` say is speaking.
///
/// Clients read the numbers as QEMU's and refuse what is older than 5 (Kata Containers' govmm); StratoVirt says 5.0.1
/// for the same reason. Our own name and version stand in `package`, which is free text.
package struct QMPVersion: Equatable, Sendable {
    package let package: String

    package init(package: String) {
        self.package = package
    }

    /// The capability of commands that overtake others.
    static let outOfBand = "oob"
    /// What the greeting offers.
    static let capabilities = [outOfBand]

    static let type = QMPType.structure([
        QMPMember(
            "qemu",
            .structure([QMPMember("major", .natural), QMPMember("minor", .natural), QMPMember("micro", .natural)])),
        QMPMember("package", .string),
    ])

    /// What `query-version` returns.
    var json: JSONValue {
        ["qemu": ["micro": 1, "minor": 0, "major": 5], "package": .string(package)]
    }

    /// What a client is sent when it connects, without the line's end.
    var greeting: JSONValue {
        ["QMP": ["version": json, "capabilities": .array(Self.capabilities.map { .string($0) })]]
    }
}
