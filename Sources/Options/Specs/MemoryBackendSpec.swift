/// `-object memory-backend-ram`, `-file` or `-memfd`: what the guest's memory is made of.
package struct MemoryBackendSpec: Equatable, Sendable {
    package enum Kind: String, Equatable, Sendable {
        case ram = "memory-backend-ram"
        case file = "memory-backend-file"
        case memfd = "memory-backend-memfd"
    }

    /// How the host's NUMA nodes are used.
    package enum Policy: String, CaseIterable, Equatable, Sendable {
        case standard = "default"
        case preferred
        case bind
        case interleave
    }

    package let kind: Kind
    package let id: String
    /// Bytes.
    package let size: UInt64
    /// The host's NUMA nodes it is bound to, each below 128; empty for any.
    package let hostNodes: [Int]
    package let policy: Policy
    /// The file or directory it comes from; there is one if and only if the kind is `file`.
    package let path: String?
    package let dumpsGuestCore: Bool
    package let isShared: Bool
    package let isPreallocated: Bool
}

extension MemoryBackendSpec {
    private enum Keys {
        static let id = OptionKey("id", .identifier, .required, "what -machine memory-backend= refers to")
        static let size = OptionKey(
            "size", .size("a size of memory", 4096...(512 << 30)), .required, "its size; the unit is M if none is given"
        )
        static let hostNodes = OptionKey(
            "host-nodes", ValueType<[Int]>.list(below: 128), "the host's NUMA nodes to take it from, as policy says")
        static let policy = OptionKey(
            "policy", ValueType<Policy>.choice, .standard("default"), "how those nodes are used")
        static let memPath = OptionKey("mem-path", .path, "memory-backend-file: the file or directory")
        static let dumpGuestCore = OptionKey(
            "dump-guest-core", .onOff, .standard("on"), "include it in a core dump of apus")
        static let share = OptionKey("share", .onOff, "share it with other processes; on for file and memfd")
        static let prealloc = OptionKey(
            "mem-prealloc", .onOff, .standard("off"), "touch all of it before the guest starts")
    }

    static let keys = [
        Keys.id.description, Keys.size.description, Keys.hostNodes.description, Keys.policy.description,
        Keys.memPath.description,
        Keys.dumpGuestCore.description, Keys.share.description, Keys.prealloc.description,
    ]

    static func decode(_ reader: KeyReader, kind: Kind) throws(OptionError) -> MemoryBackendSpec {
        let id = try reader.value(Keys.id)
        let size = try reader.value(Keys.size)
        guard size % 4096 == 0 else { throw reader.error(Keys.size, "is not a multiple of 4K") }
        let path = try reader.optional(Keys.memPath)
        if kind == .file, path == nil {
            throw reader.missing(Keys.memPath)
        }
        if kind != .file, path != nil {
            throw reader.error(Keys.memPath, "belongs to memory-backend-file")
        }
        let (nodes, policy) = (try reader.optional(Keys.hostNodes) ?? [], try reader.value(Keys.policy))
        if policy != .standard, nodes.isEmpty {
            throw reader.error(Keys.policy, "needs host-nodes", remedy: "name the nodes, such as host-nodes=0")
        }
        return MemoryBackendSpec(
            kind: kind, id: id, size: size, hostNodes: nodes, policy: policy, path: path,
            dumpsGuestCore: try reader.value(Keys.dumpGuestCore),
            isShared: try reader.optional(Keys.share) ?? (kind != .ram), isPreallocated: try reader.value(Keys.prealloc)
        )
    }

    /// The memory that `-m`, `-mem-path`, `-mem-prealloc`, and `-machine`'s keys describe.
    init(_ memory: MemorySpec, _ machine: MachineSpec) {
        self.init(
            kind: memory.path != nil ? .file : machine.sharesMemory ? .memfd : .ram, id: "", size: memory.size,
            hostNodes: [], policy: .standard, path: memory.path, dumpsGuestCore: machine.dumpsGuestCore,
            isShared: machine.sharesMemory, isPreallocated: memory.isPreallocated)
    }
}
