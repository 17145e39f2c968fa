import Host

/// What a machine's process is to see of the host, and as whom, from its start on. All of it needs root.
package struct Jail: Sendable {
    /// The directory that becomes the root; nothing else is left of the host's files.
    package var root: String?
    /// Paths of character devices that the root gets, as far as the host has them.
    package var devices: [String] = []
    /// The file of the network namespace to join.
    package var network: String?
    /// The directory of the control group to join.
    package var cgroup: String?
    /// Whether the process sees no others but its own threads.
    package var newPIDNamespace = false
    /// Who the process becomes: user and group, with no other groups.
    package var user: (id: UInt32, group: UInt32)?

    package init() {}

    /// Puts this process in. It has one thread and no files that it opened, so that all paths it uses from then on are
    /// those of the jail.
    ///
    /// With `newPIDNamespace` this returns in a child, and the caller stays outside to stand in for it until it ends.
    ///
    /// - Returns: the number of this process for those outside.
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
            try attempt("newpid", "cannot be bound to the process outside") { () throws(Errno) in
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
                error == .invalidArgument ? "'\(path)' is no network namespace" : "cannot join '\(path)': \(error)")
        }
    }

    /// Goes on in a child that sees no other processes.
    private func moveIntoChild() throws(JailError) -> Int32 {
        try attempt("newpid", "cannot start a process of its own") { () throws(Errno) in
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
            // Without this process's own writing end, the end of the other one ends the reading.
            _ = consume pipe
            let bytes = try reading.read(count: 4)
            guard bytes.count == 4 else { throw .noProcess }
            return bytes.reversed().reduce(0) { $0 << 8 | Int32($1) }
        }
    }

    private func change(root path: String) throws(JailError) {
        let numbers = devices.map { ($0, characterDevice(at: $0)) }
        try attempt("chroot", "cannot have mounts of its own") { () throws(Errno) in
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
                    ? "'\(path)' has a symbolic link; write the path that it leads to"
                    : "cannot open '\(path)': \(error)")
        }
    }

    /// Makes a device in the root, and the folders on its way.
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
                    ? "something else has the place of \(path) there" : "cannot make \(path) there: \(error)")
        }
    }

    private func attempt<T: ~Copyable>(
        _ key: String, _ problem: String, _ body: () throws(Errno) -> T
    ) throws(JailError) -> T {
        do throws(Errno) {
            return try body()
        } catch {
            throw JailError(key, "\(problem): \(error)\(error == .notPermitted ? "; only root can" : "")")
        }
    }
}

/// Why a process cannot be put into its jail: the key of `-sandbox` that asks for it, and what is wrong.
package struct JailError: Error, Equatable, Sendable {
    package let key: String
    package let problem: String

    init(_ key: String, _ problem: String) {
        self.key = key
        self.problem = problem
    }
}
