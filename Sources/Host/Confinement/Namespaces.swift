import CHost
import Glibc

/// What this process sees of the host: its own root, network and processes. Only while it has one thread.
package enum Namespaces {
    /// Gives this process mounts of its own: it sees no later changes of the others, and they see none of its.
    package static func separateMounts() throws(Errno) {
        _ = try checked { host_unshare(HOST_NEW_MOUNTS) }
        _ = try checked { host_make_mounts_private() }
    }

    /// Has the next child, and those it starts, see no processes but themselves.
    package static func unsharePIDNamespace() throws(Errno) {
        _ = try checked { host_unshare(HOST_NEW_PROCESSES) }
    }

    /// Moves this process into an open network namespace.
    ///
    /// - Throws: `EINVAL` if the file is none.
    package static func join(network: borrowing FileDescriptor) throws(Errno) {
        let descriptor = network.rawValue
        _ = try checked { host_join_namespace(descriptor, HOST_NEW_NETWORK) }
    }

    /// Makes an open folder the root, with what is mounted below it, and lets go of all other mounts; they must be this
    /// process's own.
    package static func changeRoot(to folder: borrowing FileDescriptor) throws(Errno) {
        let below = folder.rawValue
        let tree = FileDescriptor(owning: try checked { host_copy_tree(below) })
        let root = tree.rawValue
        _ = try checked { host_attach_tree(root, below) }
        _ = try checked { fchdir(root) }
        _ = try checked { host_change_root() }
        _ = try checked { unsafe chdir("/") }
    }
}

extension FileDescriptor {
    /// Opens a directory on whose path there is no symbolic link, to work in it.
    ///
    /// - Throws: `ELOOP` for a symbolic link anywhere on the path.
    package static func plainFolder(_ path: String, in folder: Int32 = AT_FDCWD) throws(Errno) -> FileDescriptor {
        guard !path.utf8.contains(0) else { throw .invalidArgument }
        let flags = UInt64(UInt32(O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        return FileDescriptor(owning: try checked { unsafe host_open_plain(folder, path, flags) })
    }

    /// The directory of this name in this one, which is made if there is none.
    package func folder(_ name: String) throws(Errno) -> FileDescriptor {
        if unsafe mkdirat(rawValue, name, 0o755) == -1, Errno.current != .exists { throw .current }
        return try .plainFolder(name, in: rawValue)
    }

    /// Makes the character device of this name in this directory, for nobody but its owner, unless it is there already.
    ///
    /// - Parameters:
    ///   - device: the kernel's number of it.
    ///   - owner: the user and the group that get it; nil leaves it as it is.
    /// - Throws: `EEXIST` if something else has the name.
    package func makeDevice(_ name: String, _ device: UInt64, owner: (UInt32, UInt32)?) throws(Errno) {
        if unsafe host_make_device(rawValue, name, device) == -1, Errno.current != .exists { throw .current }
        let flags = UInt64(UInt32(HOST_O_PATH | O_CLOEXEC))
        let made = FileDescriptor(owning: try checked { unsafe host_open_plain(rawValue, name, flags) })
        var status = stat()
        _ = try checked { unsafe fstat(made.rawValue, &status) }
        guard status.st_mode & S_IFMT == S_IFCHR, UInt64(status.st_rdev) == device else { throw .exists }
        if let (user, group) = owner {
            _ = try checked { unsafe fchownat(made.rawValue, "", user, group, HOST_AT_EMPTY_PATH) }
        }
    }

    /// Moves this process into the control group whose open directory this is.
    package func joinControlGroup() throws(Errno) {
        let flags = UInt64(UInt32(O_WRONLY | O_CLOEXEC))
        let list = FileDescriptor(owning: try checked { unsafe host_open_plain(rawValue, "cgroup.procs", flags) })
        try list.write(Array("0".utf8))
    }
}

/// The kernel's number of the character device at `path`; nil if there is none.
package func characterDevice(at path: String) -> UInt64? {
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFCHR else { return nil }
    return UInt64(status.st_rdev)
}
