/// `virtio-blk-device`: a disk (virtio 1.2, section 5.2).
package struct BlockDeviceSpec: Equatable, Sendable {
    package let id: String?
    /// The id of the `-drive`.
    package let drive: String
    /// What GET_ID answers, at most 20 bytes.
    package let serial: String?
    /// The id of the iothread that serves it; nil for the main loop.
    package let iothread: String?
    /// The place in the order of boot, for machines with firmware.
    package let bootIndex: UInt8?
    /// 1 to 32; nil if the user gave none.
    package let queues: Int?
    /// Entries in each queue: a power of two from 4 to 1024.
    package let queueSize: Int
}

extension BlockDeviceSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name, for device_del")
        static let drive = OptionKey("drive", .identifier, .required, "the id of the -drive")
        static let serial = OptionKey(
            "serial", .text("a serial number", bytes: 0...20), "its serial number, at most 20 bytes")
        static let iothread = OptionKey(
            "iothread", .identifier, "the -object iothread that serves it; the main loop if not given")
        static let numQueues = OptionKey(
            "num-queues", ValueType<Int>.number("a number of queues", 1...32), "queues, 1 to 32")
        static let queueSize = OptionKey(
            "queue-size", ValueType<Int>.powerOfTwo(4...1024), .standard("256"), "entries in a queue, 4 to 1024")
        static let bootIndex = OptionKey(
            "bootindex", ValueType<UInt8>.number("a boot index", 0...255), "for firmware; no effect on a MicroVm")
    }

    static let keys = [
        Keys.drive.description, Keys.id.description, Keys.serial.description, Keys.iothread.description,
        Keys.numQueues.description, Keys.queueSize.description, Keys.bootIndex.description,
    ]

    static func decode(_ reader: KeyReader) throws(OptionError) -> BlockDeviceSpec {
        BlockDeviceSpec(
            id: try reader.id(Keys.id), drive: try reader.value(Keys.drive),
            serial: try reader.optional(Keys.serial), iothread: try reader.optional(Keys.iothread),
            bootIndex: try reader.optional(Keys.bootIndex), queues: try reader.optional(Keys.numQueues),
            queueSize: try reader.value(Keys.queueSize))
    }
}

extension ValueType where Value == String {
    /// The id of a device, which may be empty: the device then has none.
    static let deviceID = text("an id", bytes: 0...255, placeholder: "ID")
}

extension KeyReader {
    /// The id of a device; nil if it is empty or not given.
    func id(_ key: OptionKey<String>) throws(OptionError) -> String? {
        guard let id = try optional(key), !id.isEmpty else { return nil }
        return id
    }
}
