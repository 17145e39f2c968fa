/// `-sandbox`: what the process gives up, beside system calls that it never makes.
package struct SandboxSpec: Equatable, Sendable {
    /// Whether it gives up anything; if not, nothing else is said.
    package let isOn: Bool
    /// Who it becomes; root is nobody it could become.
    package let user: UInt32?
    package let group: UInt32?
    /// The directory that becomes its root, for all other paths of the command line too.
    package let root: String?
    /// The file of the network namespace that it joins.
    package let network: String?
    /// The directory of the control group that it joins.
    package let cgroup: String?
    /// Whether it sees no other processes.
    package let newPIDNamespace: Bool
    /// Whether only the paths of its devices can be reached; nil if that depends on whether others may come.
    package let limitsPaths: Bool?
    /// What disks that are plugged in may lie in or be.
    package let paths: [String]

    /// What holds without `-sandbox`.
    package static let standard = SandboxSpec(
        isOn: true, user: nil, group: nil, root: nil, network: nil, cgroup: nil, newPIDNamespace: false,
        limitsPaths: nil, paths: [])
}

extension SandboxSpec {
    private enum Word: String, CaseIterable { case allow, deny }

    private enum WordOfPrivileges: String, CaseIterable { case allow, deny, children }

    private enum Keys {
        static let isOn = OptionKey(
            "enable", .strictOnOff, .required, "off keeps all privileges and paths")
        static let user = OptionKey(
            "uid", ValueType<UInt32>.number("a user's number", 1...UInt32.max - 1), "become this user; with gid=")
        static let group = OptionKey(
            "gid", ValueType<UInt32>.number("a group's number", 1...UInt32.max - 1),
            "and this group, and no other; with uid=")
        static let root = OptionKey(
            "chroot", .path, "make this directory the root first: all other paths are those in it")
        static let network = OptionKey("netns", .path, "join this network namespace, such as /run/netns/NAME")
        static let cgroup = OptionKey(
            "cgroup", .path, "join this control group, such as /sys/fs/cgroup/NAME")
        static let newPID = OptionKey(
            "newpid", .onOff, .standard("off"), "run in a child that sees no other processes")
        static let landlock = OptionKey(
            "landlock", .onOff, "leave only the devices' paths in reach; on if no device can be plugged in")
        static let landlockPaths = OptionKey(
            "landlock-paths", .paths, "and these, for images of disks that are plugged in")
        static let obsolete = OptionKey("obsolete", ValueType<Word>.choice, "QEMU's; without effect")
        static let privileges = OptionKey(
            "elevateprivileges", ValueType<WordOfPrivileges>.choice, "QEMU's; without effect")
        static let spawn = OptionKey("spawn", ValueType<Word>.choice, "QEMU's; without effect")
        static let resources = OptionKey("resourcecontrol", ValueType<Word>.choice, "QEMU's; without effect")
    }

    static let keys = [
        Keys.isOn.description, Keys.user.description, Keys.group.description, Keys.root.description,
        Keys.network.description, Keys.cgroup.description, Keys.newPID.description, Keys.landlock.description,
        Keys.landlockPaths.description, Keys.obsolete.description, Keys.privileges.description,
        Keys.spawn.description, Keys.resources.description,
    ]

    /// Reads the value of `-sandbox`.
    package static func parse(_ text: String) throws(OptionError) -> SandboxSpec {
        let list = try KeyValueList(option: "-sandbox", firstKey: Keys.isOn.name, parsing: text)
        let reader = try KeyReader(list, keys: keys)
        let isOn = try reader.value(Keys.isOn)
        for word in [Keys.obsolete, Keys.spawn, Keys.resources] { _ = try reader.optional(word) }
        _ = try reader.optional(Keys.privileges)
        let spec = SandboxSpec(
            isOn: isOn, user: try reader.optional(Keys.user), group: try reader.optional(Keys.group),
            root: try reader.optional(Keys.root), network: try reader.optional(Keys.network),
            cgroup: try reader.optional(Keys.cgroup), newPIDNamespace: try reader.value(Keys.newPID),
            limitsPaths: try reader.optional(Keys.landlock), paths: try reader.optional(Keys.landlockPaths) ?? [])
        try spec.check(reader)
        return spec
    }

    private func check(_ reader: KeyReader) throws(OptionError) {
        guard (user == nil) == (group == nil) else {
            throw user == nil ? reader.missing(Keys.user) : reader.missing(Keys.group)
        }
        if root == "/" { throw reader.error(Keys.root, "is the root already") }
        if limitsPaths == false, !paths.isEmpty {
            throw reader.error(Keys.landlockPaths, "is for landlock=on", remedy: "leave one of the two out")
        }
        let asked = [
            (Keys.user.name, user != nil), (Keys.root.name, root != nil), (Keys.network.name, network != nil),
            (Keys.cgroup.name, cgroup != nil), (Keys.newPID.name, newPIDNamespace),
            (Keys.landlock.name, limitsPaths == true), (Keys.landlockPaths.name, !paths.isEmpty),
        ]
        if !isOn, let (name, _) = asked.first(where: { $0.1 }) {
            throw OptionError(
                option: reader.option, offending: name, problem: "\(quoted(name)) has no effect with off",
                remedy: "write on, or leave it out")
        }
    }
}

extension ValueType where Value == [String] {
    /// Absolute paths joined by colons.
    fileprivate static let paths = ValueType(
        placeholder: "PATH[:PATH]...", expectation: "a list of absolute paths joined by colons"
    ) { text in
        let paths = text.split(atEach: .colon)
        return paths.allSatisfy { $0.utf8.first == UInt8(ascii: "/") && $0.utf8.count <= 4095 } ? paths : nil
    }
}
