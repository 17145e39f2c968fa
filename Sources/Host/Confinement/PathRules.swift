import CHost
import Glibc

/// What may be done with the files below a path (`LANDLOCK_ACCESS_FS_*`).
package struct PathRights: OptionSet, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Opening for writing, cutting off, opening for reading, and requests of devices.
    package static let use = PathRights(rawValue: 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15)
    /// Taking files out of a directory.
    package static let remove = PathRights(rawValue: 1 << 5)

    /// Those that a file can have which is no directory.
    fileprivate static let ofFiles = PathRights(rawValue: 1 << 0).union(.use)
}

/// What a thread and those it starts may still reach by path, and whom: Landlock. What is open stays open.
package struct PathRules: ~Copyable {
    private let rules: FileDescriptor
    private let handled: PathRights

    /// The version of Landlock that the kernel has; 0 for none, or one that is switched off.
    package static var kernelVersion: Int32 { max(0, host_landlock_version()) }

    /// No path can be reached, no TCP connection made, no Unix socket without a path connected to and no other process
    /// signalled, as far as the kernel's version goes; rules give some of the paths back.
    ///
    /// - Throws: `ENOSYS` or `EOPNOTSUPP` if the kernel has no Landlock.
    package init() throws(Errno) {
        let version = try checked { host_landlock_version() }
        // Version 1 has the first 13 rights; later ones have added one each, or none.
        let count: UInt64 =
            switch version {
            case ...1: 13
            case 2: 14
            case 3, 4: 15
            default: 16
            }
        let handled = PathRights(rawValue: (1 << count) - 1)
        let everything = host_landlock_ruleset(
            files: handled.rawValue, network: version >= 4 ? 3 : 0, scopes: version >= 6 ? 3 : 0)
        let fields = version >= 6 ? 3 : version >= 4 ? 2 : 1
        let descriptor = try checked {
            unsafe withUnsafePointer(to: everything) { unsafe host_landlock_create($0, fields * 8) }
        }
        rules = FileDescriptor(owning: descriptor)
        self.handled = handled
    }

    /// Leaves these rights to the file at `path`, or to all below it if it is a directory.
    package func allow(_ rights: PathRights, at path: String) throws(Errno) {
        let file = try FileDescriptor.open(path, OpenOptions(rawValue: HOST_O_PATH))
        let possible = try FileStatus(of: file).kind == .directory ? rights : rights.intersection(.ofFiles)
        let (ruleset, descriptor) = (rules.rawValue, file.rawValue)
        let allowed = possible.intersection(handled).rawValue
        _ = try checked { host_landlock_allow(ruleset, descriptor, allowed) }
    }

    /// Holds the calling thread, and all it starts, to the rules for good. It must not be able to gain privileges.
    package consuming func enforce() throws(Errno) {
        let ruleset = rules.rawValue
        _ = try checked { host_landlock_enforce(ruleset) }
    }
}
