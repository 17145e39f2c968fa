import Host

/// `-D PATH`: the log's file, and the older ones beside it.
///
/// Nothing is opened or renamed once the machine runs, which its filters would not let through: a file that has grown
/// too large, or is of another day, gives way when the next machine starts.
enum LogFile {
    /// A file of so many bytes is not added to.
    static let largest: UInt64 = 100 << 20
    /// `PATH1` to `PATH6`, the latest first.
    static let older = 6

    private static let day: UInt64 = 86_400

    /// Opens the file at `path` to add to it.
    static func open(_ path: String) throws(Errno) -> FileDescriptor {
        if let status = try? FileStatus(at: path), status.kind == .regular, status.size > 0,
            status.size >= largest || status.modified / day != Clock.realTime / 1_000_000_000 / day
        {
            for number in (1..<older).reversed() { try? renameFile("\(path)\(number)", to: "\(path)\(number + 1)") }
            try renameFile(path, to: "\(path)1")
        }
        return try FileDescriptor.open(path, [.writeOnly, .create, .append], mode: 0o640)
    }
}
