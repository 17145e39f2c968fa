/// `-object` and `object-add`: something that devices refer to.
package enum ObjectSpec: Equatable, Sendable {
    case ioThread(IOThreadSpec)
    case random(RandomSpec)
    case memory(MemoryBackendSpec)

    /// Unique among all objects.
    package var id: String {
        switch self {
        case .ioThread(let spec): spec.id
        case .random(let spec): spec.id
        case .memory(let spec): spec.id
        }
    }

    /// The name of its type.
    package var type: String {
        switch self {
        case .ioThread: "iothread"
        case .random: "rng-random"
        case .memory(let spec): spec.kind.rawValue
        }
    }
}

/// `-object iothread`: one more reactor, on a thread that carries the id as its name.
package struct IOThreadSpec: Equatable, Sendable {
    package let id: String
}

/// `-object rng-random`: where `virtio-rng` takes its bytes from.
package struct RandomSpec: Equatable, Sendable {
    package let id: String
    /// A character device of the host.
    package let filename: String
}

/// One row of the table of object types.
struct ObjectType: Sendable {
    let name: String
    let summary: String
    let keys: [KeyDescription]
    let decode: @Sendable (KeyReader) throws(OptionError) -> ObjectSpec
}

extension ObjectSpec {
    /// Every type that has a spec.
    static let types: [ObjectType] = [
        ObjectType(
            name: "iothread", summary: "a thread of its own for disks and network cards (at most 8)",
            keys: IOThreadSpec.keys
        ) { (reader) throws(OptionError) in .ioThread(try IOThreadSpec.decode(reader)) },
        ObjectType(
            name: "rng-random", summary: "a source of entropy for virtio-rng-device",
            keys: RandomSpec.keys
        ) { (reader) throws(OptionError) in .random(try RandomSpec.decode(reader)) },
        memoryType(.ram, summary: "anonymous memory"),
        memoryType(.file, summary: "memory from a file or a hugetlbfs"),
        memoryType(.memfd, summary: "memory that other processes can share"),
    ]

    /// The types that StratoVirt has beyond those.
    private static let laterTypes = ["tls-creds-x509", "authz-simple"]

    private static func memoryType(_ kind: MemoryBackendSpec.Kind, summary: String) -> ObjectType {
        ObjectType(name: kind.rawValue, summary: summary, keys: MemoryBackendSpec.keys) {
            (reader) throws(OptionError) in .memory(try MemoryBackendSpec.decode(reader, kind: kind))
        }
    }

    /// Reads one value of `-object`.
    package static func parse(_ text: String) throws(OptionError) -> ObjectSpec {
        try decode(KeyValueList(option: "-object", firstKey: "qom-type", parsing: text))
    }

    /// Decodes an object from its keys; its type is under `qom-type`. Throws an error for a type that is not known or
    /// not supported yet.
    package static func decode(_ list: KeyValueList) throws(OptionError) -> ObjectSpec {
        guard let name = list.text(of: "qom-type"), list.pairs.first?.key == "qom-type" || list.firstKey == nil else {
            throw OptionError(
                option: list.option, problem: "the type of object is missing",
                remedy: "write it first, such as \(list.option) iothread,id=ID")
        }
        guard let type = types.first(where: { $0.name == name }) else {
            if laterTypes.contains(name) { throw .notSupportedYet(list.option, name) }
            throw OptionError(
                option: list.option, offending: name, problem: "unknown object type \(quoted(name))",
                remedy: "there is \(alternatives(types.map(\.name)))")
        }
        let rest = list.titled("\(list.option) \(name)", without: "qom-type")
        return try type.decode(KeyReader(rest, keys: type.keys))
    }
}

extension IOThreadSpec {
    private enum Keys {
        static let id = OptionKey("id", .identifier, .required, "what iothread= refers to, and the thread's name")
    }

    static let keys = [Keys.id.description]

    static func decode(_ reader: KeyReader) throws(OptionError) -> IOThreadSpec {
        IOThreadSpec(id: try reader.value(Keys.id))
    }
}

extension RandomSpec {
    private enum Keys {
        static let id = OptionKey("id", .identifier, .required, "what virtio-rng-device,rng= refers to")
        static let filename = OptionKey(
            "filename", .path, .standard("/dev/urandom"), "a character device of the host")
    }

    static let keys = [Keys.id.description, Keys.filename.description]

    static func decode(_ reader: KeyReader) throws(OptionError) -> RandomSpec {
        RandomSpec(id: try reader.value(Keys.id), filename: try reader.value(Keys.filename))
    }
}
