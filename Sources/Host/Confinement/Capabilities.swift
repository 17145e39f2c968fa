import CHost
import Glibc

/// Privileges of a thread (capabilities(7)), which those it starts have too.
package struct Capabilities: OptionSet, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Any file, whoever may use it.
    package static let allFiles = Capabilities(rawValue: 1 << 1)
    /// Signals to other users' processes.
    package static let signals = Capabilities(rawValue: 1 << 5)
    /// Making and changing network interfaces.
    package static let network = Capabilities(rawValue: 1 << 12)

    /// What the calling thread has.
    package static func current() throws(Errno) -> Capabilities {
        var permitted: UInt64 = 0
        _ = try checked { unsafe host_capabilities(&permitted) }
        return Capabilities(rawValue: permitted)
    }

    /// Makes these what the calling thread has; `usable` of them take effect.
    package static func set(_ permitted: Capabilities, usable: Capabilities) throws(Errno) {
        _ = try checked { host_set_capabilities(usable.rawValue, permitted.rawValue) }
    }

    /// Keeps this process and those it starts from gaining privileges by what they execute.
    package static func gainNone() throws(Errno) {
        _ = try checked { host_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
    }
}

/// Whether the calling thread may make and remove files in the directory at `path`.
package func mayChangeFiles(in path: String) -> Bool {
    unsafe faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0
}
