import CHost
import Glibc

/// An open file description that this value owns and closes.
package struct FileDescriptor: ~Copyable, Sendable {
    /// The number the kernel knows it by; valid as long as this value lives.
    package let rawValue: Int32

    /// Takes over `rawValue`, which nobody else may close from now on.
    package init(owning rawValue: Int32) {
        self.rawValue = rawValue
    }

    deinit {
        close(rawValue)
    }

    /// Gives the descriptor away without closing it.
    package consuming func release() -> Int32 {
        let rawValue = self.rawValue
        discard self
        return rawValue
    }

    /// A second descriptor of the same open file, closed on exec.
    package func duplicate() throws(Errno) -> FileDescriptor {
        FileDescriptor(owning: try checked { host_fcntl(rawValue, F_DUPFD_CLOEXEC, 3) })
    }

    /// Takes over a descriptor inherited from the parent process, and closes it on exec.
    ///
    /// - Throws: `EBADF` if no such descriptor is open, `EINVAL` for the standard three.
    package static func inherited(_ number: Int32) throws(Errno) -> FileDescriptor {
        guard number > 2 else { throw .invalidArgument }
        _ = try checked { host_fcntl(number, F_SETFD, Int(FD_CLOEXEC)) }
        return FileDescriptor(owning: number)
    }
}

/// How to open a file.
package struct OpenOptions: OptionSet, Sendable {
    package let rawValue: Int32

    package init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    package static let readOnly: OpenOptions = []
    package static let writeOnly = OpenOptions(rawValue: O_WRONLY)
    package static let readWrite = OpenOptions(rawValue: O_RDWR)
    package static let append = OpenOptions(rawValue: O_APPEND)
    package static let create = OpenOptions(rawValue: O_CREAT)
    package static let exclusive = OpenOptions(rawValue: O_EXCL)
    package static let truncate = OpenOptions(rawValue: O_TRUNC)
    package static let nonBlocking = OpenOptions(rawValue: O_NONBLOCK)
    package static let noControllingTerminal = OpenOptions(rawValue: O_NOCTTY)
    package static let directory = OpenOptions(rawValue: O_DIRECTORY)
    /// `O_DIRECT`: transfers bypass the page cache and must be aligned.
    package static let direct = OpenOptions(rawValue: 0o40000)
    /// `O_PATH`: the file can be named by it, and neither read nor written.
    package static let pathOnly = OpenOptions(rawValue: 0o10_000_000)
    /// Both bits that tell whether a file is read, written, or both.
    package static let accessMode = OpenOptions(rawValue: O_ACCMODE)

    /// Whether a file that is open in this way can be used in that: `readOnly`, `writeOnly` or `readWrite`.
    package func allow(_ mode: OpenOptions) -> Bool {
        let own = intersection(.accessMode)
        return !contains(.pathOnly) && (own == mode || own == .readWrite)
    }
}

extension FileDescriptor {
    /// Opens `path`; the descriptor is closed on exec. `mode` holds for a file that is created.
    package static func open(
        _ path: String, _ options: OpenOptions, mode: UInt32 = 0o600
    ) throws(Errno) -> FileDescriptor {
        guard !path.utf8.contains(0) else { throw .invalidArgument }
        return FileDescriptor(
            owning: try checked { unsafe host_open(path, options.rawValue | O_CLOEXEC, mode) })
    }

    /// An anonymous file in memory.
    package static func memory(name: String) throws(Errno) -> FileDescriptor {
        FileDescriptor(owning: try checked { unsafe host_memfd_create(name) })
    }

    /// A file without a name in the directory at `path`, gone when it is closed.
    package static func temporary(in path: String) throws(Errno) -> FileDescriptor {
        do {
            // `O_TMPFILE`, which contains `O_DIRECTORY`.
            return try open(path, OpenOptions(rawValue: 0o20_200_000 | O_RDWR))
        } catch {
            guard error == .notSupported || error == .init(rawValue: EISDIR) else { throw error }
            let name = path + "/.apus-" + randomBytes(8).map { String($0, radix: 16) }.joined()
            let file = try open(name, [.readWrite, .create, .exclusive])
            try removeFile(name)
            return file
        }
    }

    /// Sets or clears `O_NONBLOCK`.
    package func setNonBlocking(_ on: Bool) throws(Errno) {
        let options = try options()
        let wanted = on ? options.union(.nonBlocking) : options.subtracting(.nonBlocking)
        if wanted != options { try setOptions(wanted) }
    }

    /// How the file is open: what `open` was told, as far as it holds on.
    package func options() throws(Errno) -> OpenOptions {
        OpenOptions(rawValue: try checked { host_fcntl(rawValue, F_GETFL, 0) })
    }

    /// Changes what can be changed of an open file, for all descriptors of it: `append`, `nonBlocking` and `direct`.
    package func setOptions(_ wanted: OpenOptions) throws(Errno) {
        _ = try checked { host_fcntl(rawValue, F_SETFL, Int(wanted.rawValue)) }
    }
}

/// Gives the file at `path` another name, in place of a file that has it.
package func renameFile(_ path: String, to new: String) throws(Errno) {
    _ = try checked { unsafe rename(path, new) }
}

/// Removes the file at `path`.
package func removeFile(_ path: String) throws(Errno) {
    _ = try checked { unsafe unlink(path) }
}
