/// `vhost-user-fs-device`: a directory of the host, served by a virtiofsd (virtio 1.2, section 5.11).
package struct FileSystemDeviceSpec: Equatable, Sendable {
    package let id: String?
    /// The id of a Unix socket `-chardev`. Apus connects, whatever its `server` and `nowait` say.
    package let chardev: String
    /// What the guest mounts, 1 to 35 bytes.
    package let tag: String
}

extension FileSystemDeviceSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name")
        static let chardev = OptionKey("chardev", .identifier, .required, "the -chardev with virtiofsd's Unix socket")
        static let tag = OptionKey(
            "tag", .text("a tag", bytes: 1...35), .required, "what the guest mounts, 1 to 35 bytes")
    }

    static let keys = [Keys.chardev.description, Keys.tag.description, Keys.id.description]

    static func decode(_ reader: KeyReader) throws(OptionError) -> FileSystemDeviceSpec {
        FileSystemDeviceSpec(
            id: try reader.id(Keys.id), chardev: try reader.value(Keys.chardev), tag: try reader.value(Keys.tag))
    }
}
