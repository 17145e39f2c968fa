/// What QMP's object model knows of one type of device or object. The rows that read `-device` and `-object` make it.
package struct TypeDescription: Sendable {
    package let name: String
    /// The type it is a kind of; nil for the one that is the root of all.
    package let parent: String?
    /// Whether it only groups others.
    package let isAbstract: Bool
    package let keys: [KeyDescription]

    fileprivate init(_ name: String, _ parent: String?, isAbstract: Bool = false, keys: [KeyDescription] = []) {
        self.name = name
        self.parent = parent
        self.isAbstract = isAbstract
        self.keys = keys
    }
}

/// The types of everything a machine can be made of, with QEMU's names for what they have in common.
package struct TypeCatalog: Sendable {
    package let types: [TypeDescription]

    /// The types that this program supports.
    package init() {
        let devices = DeviceType.all.flatMap { type in
            type.names.map { TypeDescription($0, Self.parents[$0] ?? "virtio-device", keys: type.keys) }
        }
        let objects = ObjectSpec.types.map { type in
            TypeDescription(type.name, Self.parents[type.name] ?? "memory-backend", keys: type.keys)
        }
        types =
            Self.abstract + [TypeDescription("microvm-machine", "machine", keys: MachineSpec.keys)] + devices + objects
    }

    /// The type of that name, or one of the names that `device_add` takes besides.
    package subscript(name: String) -> TypeDescription? {
        let name = QMPArguments.mmioDrivers[name] ?? name
        return types.first { $0.name == name }
    }

    /// Whether `type` is `ancestor` or a kind of it.
    package func isKind(_ type: TypeDescription, of ancestor: String) -> Bool {
        // No longer than the table, whatever it holds.
        var next: TypeDescription? = type
        for _ in types {
            guard let type = next else { return false }
            if type.name == ancestor { return true }
            next = type.parent.flatMap { self[$0] }
        }
        return false
    }

    private static let abstract = [
        TypeDescription("object", nil, isAbstract: true),
        TypeDescription("machine", "object", isAbstract: true),
        TypeDescription("device", "object", isAbstract: true),
        TypeDescription("virtio-device", "device", isAbstract: true),
        TypeDescription("virtio-serial-port", "device", isAbstract: true),
        TypeDescription("rng-backend", "object", isAbstract: true),
        TypeDescription("memory-backend", "object", isAbstract: true),
    ]

    private static let parents = [
        "virtserialport": "virtio-serial-port", "virtconsole": "virtserialport", "iothread": "object",
        "rng-random": "rng-backend",
    ]
}

/// What `query-command-line-options` tells about one option.
package struct OptionParameters: Sendable {
    /// Without the dash.
    package let option: String
    package let keys: [KeyDescription]

    /// Every option that is supported and has keys; types of devices and objects have theirs in the catalog.
    package static var all: [OptionParameters] {
        OptionDescription.all.filter { $0.standing == .supported && !$0.keys.isEmpty }
            .map { OptionParameters(option: $0.name, keys: $0.keys) }
    }
}
