/// `-netdev` and `netdev_add`: the host's end of a network card.
package struct NetdevSpec: Equatable, Sendable {
    package enum Backend: Equatable, Sendable {
        case tap(TapSpec)
        /// A process that serves the rings, behind a socket chardev.
        case vhostUser(chardev: String)
    }

    /// What devices refer to; unique.
    package let id: String
    package let backend: Backend
    /// Pairs of queues, 1 to 16.
    package let queuePairs: Int
}

/// A tap interface. It has a name or descriptors; with both, the name counts.
package struct TapSpec: Equatable, Sendable {
    /// The interface, at most 15 bytes; created if it doesn't exist.
    package let interface: String?
    /// Inherited descriptors of an open tap, one for each pair of queues.
    package let descriptors: [Int32]
    /// Whether the kernel's vhost-net moves the packets.
    package let usesVhost: Bool
    /// Inherited descriptors of `/dev/vhost-net`. Without `usesVhost` they are not used.
    package let vhostDescriptors: [Int32]
}

extension NetdevSpec {
    private enum Kind: String, CaseIterable {
        case tap
        case vhostUser = "vhost-user"
    }

    private enum Keys {
        static let type = OptionKey("type", ValueType<Kind>.choice, .required, "the backend, as the first word")
        static let id = OptionKey("id", .identifier, .required, "what -device netdev= refers to")
        static let ifname = OptionKey(
            "ifname", .text("the name of an interface", bytes: 1...15, placeholder: "NAME"), "tap: the interface's name"
        )
        static let fd = OptionKey("fd", .descriptors, "tap: an inherited descriptor of an open tap")
        static let fds = OptionKey("fds", .descriptors, "tap: several, one for each pair of queues")
        static let vhost = OptionKey(
            "vhost", .onOff, .standard("off"), "tap: let the kernel's vhost-net move the packets")
        static let vhostfd = OptionKey("vhostfd", .descriptors, "tap: an inherited descriptor of /dev/vhost-net")
        static let vhostfds = OptionKey("vhostfds", .descriptors, "tap: several of them")
        static let queues = OptionKey(
            "queues", ValueType<Int>.number("a number of queue pairs", 1...16), .standard("1"),
            "pairs of queues, 1 to 16")
        static let chardev = OptionKey("chardev", .identifier, "vhost-user: a socket -chardev, without server")
        static let path = OptionKey("path", .path, "for macnat only")
        static let macnat = OptionKey("macnat", .onOff, .standard("off"), "not supported yet")
    }

    static let keys = [
        Keys.type.description, Keys.id.description, Keys.ifname.description, Keys.fd.description, Keys.fds.description,
        Keys.vhost.description,
        Keys.vhostfd.description, Keys.vhostfds.description, Keys.queues.description, Keys.chardev.description,
        Keys.path.description,
        Keys.macnat.description,
    ]

    /// Reads one value of `-netdev`.
    package static func parse(_ text: String) throws(OptionError) -> NetdevSpec {
        try decode(KeyValueList(option: "-netdev", firstKey: "type", parsing: text))
    }

    /// Decodes `-netdev`'s keys; the backend's name is under `type`.
    package static func decode(_ list: KeyValueList) throws(OptionError) -> NetdevSpec {
        let reader = try KeyReader(list, keys: keys)
        let kind = try reader.value(Keys.type)
        let id = try reader.value(Keys.id)
        if try reader.value(Keys.macnat) { throw .notSupportedYet(list.option, "macnat=on") }
        if reader.has(Keys.path) { throw reader.error(Keys.path, "belongs to macnat, which is not supported yet") }
        let descriptors = try one(of: Keys.fd, or: Keys.fds, reader)
        let vhostDescriptors = try one(of: Keys.vhostfd, or: Keys.vhostfds, reader)
        let pairs = try reader.value(Keys.queues)
        switch kind {
        case .tap:
            if reader.has(Keys.chardev) { throw reader.error(Keys.chardev, "belongs to vhost-user") }
            let interface = try reader.optional(Keys.ifname)
            guard interface != nil || !descriptors.isEmpty else {
                throw OptionError(
                    option: list.option, problem: "a tap has neither name nor descriptor",
                    remedy: "write ifname=NAME or fd=FD")
            }
            guard descriptors.count <= 16 else {
                throw reader.error(reader.has(Keys.fd) ? Keys.fd : Keys.fds, "is more than 16 descriptors")
            }
            let tap = TapSpec(
                interface: interface, descriptors: descriptors, usesVhost: try reader.value(Keys.vhost),
                vhostDescriptors: vhostDescriptors)
            return NetdevSpec(id: id, backend: .tap(tap), queuePairs: max(pairs, descriptors.count))
        case .vhostUser:
            if try reader.value(Keys.vhost) { throw reader.error(Keys.vhost, "belongs to tap") }
            if reader.has(Keys.ifname) { throw reader.error(Keys.ifname, "belongs to tap") }
            if !descriptors.isEmpty { throw reader.error(reader.has(Keys.fd) ? Keys.fd : Keys.fds, "belongs to tap") }
            guard let socket = try reader.optional(Keys.chardev) else { throw reader.missing(Keys.chardev) }
            return NetdevSpec(id: id, backend: .vhostUser(chardev: socket), queuePairs: pairs)
        }
    }

    private static func one(
        of single: OptionKey<[Int32]>, or several: OptionKey<[Int32]>, _ reader: KeyReader
    ) throws(OptionError) -> [Int32] {
        if reader.has(single), reader.has(several) {
            throw reader.error(several, "repeats \(single.description.name)", remedy: "give one of them")
        }
        let key = reader.has(single) ? single : several
        let descriptors = try reader.optional(key) ?? []
        guard Set(descriptors).count == descriptors.count else {
            throw reader.error(key, "names a descriptor twice")
        }
        return descriptors
    }
}
