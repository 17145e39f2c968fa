import Host

/// The namespaces, root directory and user that the process takes on at its start. Each requires root.
package struct Jail: Sendable {
    /// The directory that becomes the root; the process sees no other files of the host.
    package var root: String?
    /// Paths of character devices to create in the root, if the host has them.
    package var devices: [String] = []
    /// The file of the network namespace to join.
    package var network: String?
    /// The directory of the control group to join.
    package var cgroup: String?
    /// Whether the process runs in a new PID namespace.
    package var newPIDNamespace = false
    /// The user and group to run as, without supplementary groups.
    package var user: (id: UInt32, group: UInt32)?

    /// No jail.
    package init() {}

    /// Moves this process into the jail. Call it with one thread and before opening files: all later paths are paths
    /// inside the jail.
    ///
    /// With `newPIDNamespace` it returns in a child process. The caller stays outside, forwards signals to the child and
    /// exits with it.
    ///
    /// - Returns: the process id outside the jail.
    package func enter() throws(JailError) -> Int32 {
        if let cgroup { try join(cgroup: cgroup) }
        if let network { try join(network: network) }
        let number = newPIDNamespace ? try moveIntoChild() : HostProcess.id
        if let root { try change(root: root) }
        if let user {
            try attempt("uid", "cannot become user \(user.id) with group \(user.group)") { () throws(Errno) in
                try HostProcess.become(user: user.id, group: user.group)
            }
        }
        if newPIDNamespace {
            try attempt("newpid", "cannot set the parent-death signal") { () throws(Errno) in
                try HostProcess.endWithParent()
            }
        }
        return number
    }

    private func join(cgroup path: String) throws(JailError) {
        try attempt("cgroup", "cannot join '\(path)'") { () throws(Errno) in
            try FileDescriptor.plainFolder(path).joinControlGroup()
        }
    }

    private func join(network path: String) throws(JailError) {
        let file = try attempt("netns", "cannot open '\(path)'") { () throws(Errno) in
            try FileDescriptor.open(path, [.readOnly, .nonBlocking])
        }
        do throws(Errno) {
            try Namespaces.join(network: file)
        } catch {
            throw JailError(
                "netns",
                error == .invalidArgument ? "'\(path)' is not a network namespace" : "cannot join '\(path)': \(error)")
        }
    }

    /// Forks a child in a new PID namespace and returns in it, with its process id outside.
    private func moveIntoChild() throws(JailError) -> Int32 {
        try attempt("newpid", "cannot start a process in a new PID namespace") { () throws(Errno) in
            try Namespaces.unsharePIDNamespace()
            let pipe = try HostProcess.pipe()
            let before = HostProcess.holdSignals()
            let child = try HostProcess.fork()
            if child != 0 {
                try? pipe.second.write((0..<4).map { UInt8(truncatingIfNeeded: child >> ($0 * 8)) })
                if let null = try? FileDescriptor.open("/dev/null", .readWrite) {
                    try? HostProcess.replaceStandardStreams(by: null)
                }
                HostProcess.standIn(for: child)
            }
            before.restore()
            let reading = try pipe.first.duplicate()
            // Close this process's write end, so that the parent's death ends the read.
            _ = consume pipe
            let bytes = try reading.read(count: 4)
            guard bytes.count == 4 else { throw .noProcess }
            return bytes.reversed().reduce(0) { $0 << 8 | Int32($1) }
        }
    }

    private func change(root path: String) throws(JailError) {
        let numbers = devices.map { ($0, characterDevice(at: $0)) }
        try attempt("chroot", "cannot create a mount namespace") { () throws(Errno) in
            try Namespaces.separateMounts()
        }
        let root = try Self.open(root: path)
        for case (let device, let number?) in numbers { try make(device, number, in: root) }
        try attempt("chroot", "cannot make '\(path)' the root") { () throws(Errno) in
            try Namespaces.changeRoot(to: root)
        }
    }

    private static func open(root path: String) throws(JailError) -> FileDescriptor {
        do throws(Errno) {
            return try .plainFolder(path)
        } catch {
            throw JailError(
                "chroot",
                error == .tooManyLinks
                    ? "'\(path)' contains a symbolic link; pass the path without symbolic links"
                    : "cannot open '\(path)': \(error)")
        }
    }

    /// Creates a device file in the root, and its parent directories.
    private func make(_ path: String, _ number: UInt64, in root: borrowing FileDescriptor) throws(JailError) {
        let names = path.split(separator: "/").map { String($0) }
        do throws(Errno) {
            var folder = try root.duplicate()
            for name in names.dropLast() { folder = try folder.folder(name) }
            try folder.makeDevice(names.last ?? "", number, owner: user.map { ($0.id, $0.group) })
        } catch {
            throw JailError(
                "chroot",
                error == .tooManyLinks || error == .exists
                    ? "cannot create \(path) in the root: another file exists there; remove it"
                    : "cannot create \(path) in the root: \(error)")
        }
    }

    private func attempt<T: ~Copyable>(
        _ key: String, _ problem: String, _ body: () throws(Errno) -> T
    ) throws(JailError) -> T {
        do throws(Errno) {
            return try body()
        } catch {
            throw JailError(key, "\(problem): \(error)\(error == .notPermitted ? "; start apus as root" : "")")
        }
    }
}

/// A failure to enter the jail.
package struct JailError: Error, Equatable, Sendable {
    /// The key of `-sandbox` that failed.
    package let key: String
    /// What failed, the cause and the remedy.
    package let problem: String

    init(_ key: String, _ problem: String) {
        self.key = key
        self.problem = problem
    }
}
