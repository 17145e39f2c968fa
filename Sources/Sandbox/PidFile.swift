package import Host

/// The file that names this process, removed when it goes.
package struct PidFile: ~Copyable {
    private let path: String

    /// Writes `number`, the process's, in decimal without a line end, to a new file with mode 0600.
    ///
    /// - Throws: `EEXIST` if there is such a file already.
    package init(_ path: String, number: Int32) throws(Errno) {
        try Self.write(path, number)
        self.path = path
    }

    private static func write(_ path: String, _ number: Int32) throws(Errno) {
        let file = try FileDescriptor.open(path, [.writeOnly, .create, .exclusive], mode: 0o600)
        do {
            try file.write(Array(String(number).utf8))
        } catch {
            try? removeFile(path)
            throw error
        }
    }

    deinit {
        try? removeFile(path)
    }
}
