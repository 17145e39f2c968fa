package import Host

/// The pid file. Its deinitializer removes it.
package struct PidFile: ~Copyable {
    private let path: String

    /// Creates the file with mode 0600 and writes the process id `number` in decimal, without a line end.
    ///
    /// - Throws: `EEXIST` if the file exists.
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
