extension QMPArguments {
    /// What `device_add` takes beside `id` and `driver`, for everything that can be plugged in.
    package static var deviceAddKeys: [KeyDescription] {
        let own = Set(mmioDrivers.values).sorted().compactMap { DeviceType.named($0) }.flatMap(\.keys).map(\.optional)
        let others = own.filter { $0.name == "bootindex" }.map { $0.named("boot_index") } + ignored(["chardev"])
        return merged(slotKeys + own + others + ignored(ignoredByDeviceAdd), without: ["id"])
    }

    /// What `blockdev-add` takes beside `node-name`; a name with a dot is a member of a nested object.
    package static var blockdevAddKeys: [KeyDescription] {
        let own = DriveSpec.keys.compactMap { key in blockdevSpellings[key.name].map { key.named($0) } }
        let format = ignored(["driver"], "`raw`, `file` or `host_device`: the image is read as it is")
        return merged(
            own.filter { $0.name != "driver" } + format + ignored(ignoredByBlockdevAdd), without: ["node-name"])
    }

    /// What `netdev_add` takes beside `id`.
    package static var netdevAddKeys: [KeyDescription] {
        merged(NetdevSpec.keys.map(\.optional) + ignored(ignoredByNetdevAdd), without: ["id"])
    }

    /// What `object-add` takes beside `qom-type` and `id`.
    package static var objectAddKeys: [KeyDescription] {
        merged(ObjectSpec.types.flatMap(\.keys).map(\.optional), without: ["id"])
    }

    /// Each name once, the first of its kind.
    private static func merged(_ keys: [KeyDescription], without others: Set<String>) -> [KeyDescription] {
        var names = others
        return keys.filter { names.insert($0.name).inserted }
    }

    private static func ignored(_ names: Set<String>, _ summary: String = "ignored") -> [KeyDescription] {
        names.sorted().map {
            KeyDescription(name: $0, placeholder: "", type: "str", presence: .optional, summary: summary)
        }
    }
}

extension KeyDescription {
    fileprivate func named(_ name: String) -> KeyDescription {
        KeyDescription(name: name, placeholder: placeholder, type: type, presence: presence, summary: summary)
    }

    /// The key as one that may be left out: for a device, the id stands for what it refers to.
    fileprivate var optional: KeyDescription {
        guard presence == .required else { return self }
        return KeyDescription(name: name, placeholder: placeholder, type: type, presence: .optional, summary: summary)
    }
}
