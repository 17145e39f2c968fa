import Host

/// A file of the host with random bytes, open as long as this object lives.
///
/// Usually a character device such as `/dev/urandom`, or a FIFO that a program fills. The bytes of a regular file are
/// used once, from beginning to end.
package final class RandomSource {
    /// The path, as the user gave it.
    package let path: String
    /// Whether it is a regular file, whose bytes are neither random nor endless.
    package let isRegular: Bool
    private let file: FileDescriptor

    /// Opens the source at `path`.
    ///
    /// - Throws: `RandomSourceError` if the file is missing, unreadable or of another kind.
    package init(path: String) throws(RandomSourceError) {
        let status: FileStatus
        do {
            // A FIFO must not make this wait for a writer. Later waits are the ring's.
            file = try FileDescriptor.open(path, [.readOnly, .nonBlocking, .noControllingTerminal])
            status = try FileStatus(of: file)
            try file.setNonBlocking(false)
        } catch {
            throw RandomSourceError(path: path, problem: "\(error)")
        }
        guard [.characterDevice, .fifo, .regular].contains(status.kind) else {
            throw RandomSourceError(
                path: path, problem: "is neither a character device nor a FIFO; use /dev/urandom, for example")
        }
        self.path = path
        isRegular = status.kind == .regular
    }

    /// The descriptor, to register with a reactor; valid as long as this object lives.
    package var descriptor: Int32 { file.rawValue }
}
