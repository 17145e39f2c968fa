/// `-device` and `device_add`: one device of the machine, by its type.
package enum DeviceSpec: Equatable, Sendable {
    case block(BlockDeviceSpec)
    case network(NetworkDeviceSpec)
    case vsock(VsockDeviceSpec)
    case serialBus(SerialBusSpec)
    /// `virtconsole`, a console on the serial bus.
    case console(SerialPortSpec)
    /// `virtserialport`, a plain port on the serial bus.
    case serialPort(SerialPortSpec)
    case entropy(EntropyDeviceSpec)
    case balloon(BalloonDeviceSpec)
    case fileSystem(FileSystemDeviceSpec)

    /// What `device_del` refers to; nil if the user gave none.
    package var id: String? {
        switch self {
        case .block(let spec): spec.id
        case .network(let spec): spec.id
        case .vsock(let spec): spec.id
        case .serialBus(let spec): spec.id
        case .console(let spec), .serialPort(let spec): spec.id
        case .entropy(let spec): spec.id
        case .balloon(let spec): spec.id
        case .fileSystem(let spec): spec.id
        }
    }

    /// StratoVirt's name of the type.
    package var type: String {
        switch self {
        case .block: "virtio-blk-device"
        case .network: "virtio-net-device"
        case .vsock: "vhost-vsock-device"
        case .serialBus: "virtio-serial-device"
        case .console: "virtconsole"
        case .serialPort: "virtserialport"
        case .entropy: "virtio-rng-device"
        case .balloon: "virtio-balloon-device"
        case .fileSystem: "vhost-user-fs-device"
        }
    }

    /// Whether the device has an MMIO transport of its own. Ports of a serial bus have not.
    package var hasTransport: Bool {
        switch self {
        case .console, .serialPort: false
        default: true
        }
    }

    /// The iothreads that it names, and under which key.
    package var iothreads: [(key: String, id: String)] {
        let named: [(key: String, id: String?)] =
            switch self {
            case .block(let spec): [("iothread", spec.iothread)]
            case .network(let spec):
                [
                    ("iothread", spec.iothread), ("rx-iothread", spec.receiveIOThread),
                    ("tx-iothread", spec.transmitIOThread),
                ]
            default: []
            }
        return named.compactMap { key, id in id.map { (key, $0) } }
    }

    /// Throws an error for an iothread that is not `known`.
    ///
    /// - Parameters:
    ///   - option: where the device is given: `-device`, `device_add`.
    ///   - kind: what makes iothreads there.
    package func checkIOThreads(_ known: [String], in option: String, kind: String) throws(OptionError) {
        for (key, id) in iothreads where !known.contains(id) {
            throw .noSuch(kind, id, in: "\(option) \(type)", key: key, known: known)
        }
    }
}

extension DeviceSpec {
    /// Reads one value of `-device`.
    package static func parse(_ text: String) throws(OptionError) -> DeviceSpec {
        try decode(KeyValueList(option: "-device", firstKey: "driver", parsing: text))
    }

    /// Decodes a device from its keys; its type is under `driver`. Throws an error for a type that is not known, or has
    /// no place on a MicroVm.
    package static func decode(_ list: KeyValueList) throws(OptionError) -> DeviceSpec {
        guard let name = list.text(of: "driver"), list.firstKey == nil || list.pairs.first?.key == "driver" else {
            throw OptionError(
                option: list.option, problem: "the type of device is missing",
                remedy: "write it first, such as \(list.option) virtio-blk-device,drive=ID")
        }
        guard let type = DeviceType.named(name) else {
            throw DeviceType.error(unknown: name, option: list.option)
        }
        let rest = list.titled("\(list.option) \(name)", without: "driver")
        for pair in rest.pairs where ["bus", "addr", "multifunction"].contains(pair.key) {
            throw OptionError(
                option: rest.option, offending: pair.key, problem: "\(quoted(pair.key)) is for PCI devices",
                remedy: "a MicroVm has no PCI; leave it out")
        }
        return try type.decode(KeyReader(rest, keys: type.keys))
    }
}
