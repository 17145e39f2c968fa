import Host

/// A file of the host that random bytes come from, open as long as this object lives.
///
/// As a rule a character device, such as `/dev/urandom`; a FIFO that a program fills does too. The bytes of a regular
/// file are given out once, from its beginning to its end.
package final class RandomSource {
    /// The path, as the user gave it.
    package let path: String
    /// Whether it is a regular file, whose bytes are neither random nor without end.
    package let isRegular: Bool
    private let file: FileDescriptor

    /// Opens the source at `path`.
    ///
    /// - Throws: `RandomSourceError` if there is none, if it may not be read, or if it is of another kind.
    package init(path: String) throws(RandomSourceError) {
        let status: FileStatus
        do {
            // Not to wait for a writer, should it be a FIFO. From then on the ring waits, not a thread of ours.
            file = try FileDescriptor.open(path, [.readOnly, .nonBlocking, .noControllingTerminal])
            status = try FileStatus(of: file)
            try file.setNonBlocking(false)
        } catch {
            throw RandomSourceError(path: path, problem: "\(error)")
        }
        guard [.characterDevice, .fifo, .regular].contains(status.kind) else {
            throw RandomSourceError(
                path: path, problem: "is neither a character device nor a FIFO; give /dev/urandom, for example")
        }
        self.path = path
        isRegular = status.kind == .regular
    }

    /// The descriptor, to register with a reactor; valid as long as this object lives.
    package var descriptor: Int32 { file.rawValue }
}
