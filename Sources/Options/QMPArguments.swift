/// The arguments of QMP commands, brought to the keys of the command line, so that both are decoded by the same specs.
///
/// The pairs hold what the client sent: a number in decimal, a boolean as `true` or `false`, a member of a nested
/// object under its dotted name.
package enum QMPArguments {
    /// `device_add`: the device, and the slot it is to be plugged into if the client chose one.
    ///
    /// `driver` is a type of `-device`, or StratoVirt's `virtio-blk-mmio` or `virtio-net-mmio`. A MicroVm's `addr` is
    /// the number of a slot; `lun` is the same less one. Without `drive` or `netdev` the id stands for it. Members that
    /// clients are known to send for other machines are ignored.
    package static func deviceAdd(_ pairs: [KeyValue]) throws(OptionError) -> (device: DeviceSpec, slot: Int?) {
        let command = "device_add"
        let slot = try KeyReader(
            KeyValueList(
                option: command, pairs: pairs.filter { pair in slotKeys.contains { $0.name == pair.key } },
                spellings: [:]),
            keys: slotKeys)
        let address = try slot.optional(Keys.address)
        let unit = try slot.optional(Keys.lun)

        var device = pairs.filter { pair in
            !ignoredByDeviceAdd.contains(pair.key) && !slotKeys.contains { $0.name == pair.key }
        }
        guard let id = device.first(where: { $0.key == "id" })?.value, !id.isEmpty else {
            throw OptionError(option: command, problem: "\"id\" is missing")
        }
        guard let driver = device.first(where: { $0.key == "driver" })?.value else {
            throw OptionError(option: command, problem: "\"driver\" is missing")
        }
        let type = mmioDrivers[driver] ?? driver
        device = device.map { pair in
            switch pair.key {
            case "driver": KeyValue("driver", type)
            case "boot_index": KeyValue("bootindex", pair.value)
            default: pair
            }
        }
        if type == "virtio-net-device" {
            // StratoVirt asks for a chardev here and then doesn't look at it.
            device.removeAll { $0.key == "chardev" }
        }
        let reference = ["virtio-blk-device": "drive", "virtio-net-device": "netdev"][type]
        if let reference, !device.contains(where: { $0.key == reference }) {
            device.append(KeyValue(reference, id))
        }
        let list = KeyValueList(option: command, pairs: device, spellings: ["bootindex": "boot_index"])
        return (try DeviceSpec.decode(list), address ?? unit.map { $0 + 1 })
    }

    /// `blockdev-add`: the drive; its id is the `node-name`. Without `file.aio`, an engine that fits `cache.direct` is
    /// chosen.
    package static func blockdevAdd(_ pairs: [KeyValue]) throws(OptionError) -> DriveSpec {
        let list = KeyValueList(option: "blockdev-add", pairs: [], spellings: blockdevSpellings)
        let keys = Dictionary(blockdevSpellings.map { ($0.value, $0.key) }, uniquingKeysWith: { first, _ in first })
        let known = DriveSpec.keys.map(\.name).filter { blockdevSpellings[$0] != nil }
        var drive: [KeyValue] = []
        for pair in pairs where !ignoredByBlockdevAdd.contains(pair.key) {
            switch keys[pair.key] {
            case "format"? where pair.value != "qcow2":
                // Whether it says raw, file or host_device: the image is read as it is.
                continue
            case "aio"?: drive.append(KeyValue("aio", pair.value.map { aioNames[$0] ?? $0 }))
            case let key?: drive.append(KeyValue(key, pair.value))
            case nil: throw list.unknownKey(pair.key, known: known)
            }
        }
        return try DriveSpec.decode(
            KeyValueList(option: list.option, pairs: drive, spellings: blockdevSpellings))
    }

    /// `netdev_add`: the host's end of a network card. `descriptors` are those that `getfd` received, by name.
    package static func netdevAdd(
        _ pairs: [KeyValue], descriptors: [String: Int32] = [:]
    ) throws(OptionError) -> NetdevSpec {
        var netdev = pairs.filter { !ignoredByNetdevAdd.contains($0.key) }
        if !netdev.contains(where: { $0.key == "type" }) { netdev.append(KeyValue("type", "tap")) }
        netdev = netdev.map { pair in
            guard descriptorKeys.contains(pair.key), let value = pair.value else { return pair }
            let numbers = value.split(atEach: .colon).map { name in descriptors[name].map { String($0) } ?? name }
            return KeyValue(pair.key, numbers.joined(separator: ":"))
        }
        return try NetdevSpec.decode(KeyValueList(option: "netdev_add", pairs: netdev, spellings: [:]))
    }

    /// `object-add`: the object; its type is the `qom-type`.
    package static func objectAdd(_ pairs: [KeyValue]) throws(OptionError) -> ObjectSpec {
        try ObjectSpec.decode(KeyValueList(option: "object-add", pairs: pairs, spellings: [:]))
    }

    // MARK: - Names

    private enum Keys {
        static let address = OptionKey("addr", .slot, "the number of a slot")
        static let lun = OptionKey("lun", ValueType<Int>.number("a unit", 0...254), "the number of a slot less one")
    }

    /// The keys that choose a slot.
    static let slotKeys = [Keys.address.description, Keys.lun.description]

    /// The drivers that StratoVirt documents for a MicroVm.
    static let mmioDrivers = [
        "virtio-blk-mmio": "virtio-blk-device", "virtio-net-mmio": "virtio-net-device",
    ]

    /// What clients send for other monitors' sake and a MicroVm has no use for.
    static let ignoredByDeviceAdd: Set<String> = [
        "romfile", "share-rw", "disable-modern", "logical_block_size", "physical_block_size", "vectors", "bus",
        "multifunction",
    ]

    /// The keys of `-drive`, as `blockdev-add` spells them.
    static let blockdevSpellings = [
        "id": "node-name", "file": "file.filename", "aio": "file.aio", "direct": "cache.direct",
        "readonly": "read-only", "detect-zeroes": "detect-zeroes", "discard": "discard", "format": "driver",
        "media": "media", "throttling.iops-total": "throttling.iops-total", "l2-cache-size": "l2-cache-size",
        "refcount-cache-size": "refcount-cache-size",
    ]

    static let ignoredByBlockdevAdd: Set<String> = [
        "file.driver", "cache.no-flush", "backing", "id", "options",
    ]

    /// The engines as JSON spells them. The command line's `io_uring` is understood too.
    private static let aioNames = [
        "iouring": "io_uring", "IoUring": "io_uring", "Off": "off", "Native": "native", "Threads": "threads",
    ]

    static let ignoredByNetdevAdd: Set<String> = ["script", "downscript", "dnssearch"]

    private static let descriptorKeys: Set<String> = ["fd", "fds", "vhostfd", "vhostfds"]
}

extension ValueType where Value == Int {
    /// A slot: decimal, or hexadecimal after `0x`.
    fileprivate static let slot = ValueType(placeholder: "N", expectation: "the number of a slot") { text in
        guard text.utf8.starts(with: "0x".utf8) else {
            return decimal(text).flatMap { UInt8(exactly: $0) }.map { Int($0) }
        }
        let digits = text.utf8.dropFirst(2)
        guard (1...2).contains(digits.count), digits.allSatisfy(\.isHexDigit) else { return nil }
        return Int(String(Substring(digits)), radix: 16)
    }
}
