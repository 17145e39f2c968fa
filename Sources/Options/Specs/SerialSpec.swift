/// `-serial`: where the first serial port's characters go. Without it there is no serial port.
package enum SerialSpec: Equatable, Sendable {
    /// A backend of its own.
    case backend(CharacterBackend)
    /// `chardev:ID`, a `-chardev` wherever it stands on the command line.
    case chardev(id: String)

    /// The id of a backend of its own.
    package static let backendID = "serial_chardev"

    /// The id of the chardev that the serial port uses.
    package var chardevID: String {
        switch self {
        case .backend: Self.backendID
        case .chardev(let id): id
        }
    }

    /// Reads the value of `-serial`: `stdio`, `pty`, `file,path=…`, `socket,…,server,nowait` or `chardev:ID`.
    package static func parse(_ text: String) throws(OptionError) -> SerialSpec {
        let prefix = "chardev:"
        let value = text.withoutQuotes
        if value.utf8.starts(with: prefix.utf8) {
            let id = String(Substring(value.utf8.dropFirst(prefix.utf8.count)))
            guard !id.isEmpty, id.utf8.count <= 255, !id.utf8.contains(.colon), !id.utf8.contains(.comma) else {
                throw OptionError(
                    option: "-serial", offending: text, problem: "\(quoted(text)) is not chardev:ID",
                    remedy: "ID is the id of a -chardev")
            }
            return .chardev(id: id)
        }
        let list = try KeyValueList(option: "-serial", firstKey: "type", parsing: text)
        let (backend, _) = try CharacterBackend.decode(list, others: [])
        return .backend(backend)
    }
}
