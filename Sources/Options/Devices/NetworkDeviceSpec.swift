/// `virtio-net-device`: a network card (virtio 1.2, section 5.1).
package struct NetworkDeviceSpec: Equatable, Sendable {
    package let id: String?
    /// The id of the `-netdev`.
    package let netdev: String
    /// Nil if the machine is to choose one.
    package let mac: MACAddress?
    /// The id of the iothread that serves it; nil for the main loop.
    package let iothread: String?
    /// The iothread for receiving; `iothread` if nil.
    package let receiveIOThread: String?
    /// The iothread for sending; `iothread` if nil.
    package let transmitIOThread: String?
    /// Whether it may have more than one pair of queues.
    package let isMultiqueue: Bool
    /// Entries in each queue: a power of two from 256 to 4096.
    package let queueSize: Int
}

extension NetworkDeviceSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name, for device_del")
        static let netdev = OptionKey("netdev", .identifier, .required, "the id of the -netdev")
        static let mac = OptionKey("mac", .mac, "its address; chosen if not given")
        static let iothread = OptionKey(
            "iothread", .identifier, "the -object iothread that serves it; the main loop if not given")
        static let rxIOThread = OptionKey(
            "rx-iothread", .identifier, "the iothread for receiving; iothread if not given")
        static let txIOThread = OptionKey("tx-iothread", .identifier, "the iothread for sending; iothread if not given")
        static let mq = OptionKey("mq", .onOff, .standard("off"), "more than one pair of queues")
        static let queueSize = OptionKey(
            "queue-size", ValueType<Int>.powerOfTwo(256...4096), .standard("256"), "entries in a queue, 256 to 4096")
        static let vectors = OptionKey(
            "vectors", ValueType<UInt16>.number("a number of vectors", 0...65535), "for PCI; no effect on a MicroVm")
    }

    static let keys = [
        Keys.netdev.description, Keys.id.description, Keys.mac.description, Keys.iothread.description,
        Keys.rxIOThread.description, Keys.txIOThread.description, Keys.mq.description, Keys.queueSize.description,
        Keys.vectors.description,
    ]

    static func decode(_ reader: KeyReader) throws(OptionError) -> NetworkDeviceSpec {
        _ = try reader.optional(Keys.vectors)
        return NetworkDeviceSpec(
            id: try reader.id(Keys.id), netdev: try reader.value(Keys.netdev), mac: try reader.optional(Keys.mac),
            iothread: try reader.optional(Keys.iothread), receiveIOThread: try reader.optional(Keys.rxIOThread),
            transmitIOThread: try reader.optional(Keys.txIOThread), isMultiqueue: try reader.value(Keys.mq),
            queueSize: try reader.value(Keys.queueSize))
    }
}
