/// `virtio-serial-device`: the bus of consoles and ports (virtio 1.2, section 5.3).
package struct SerialBusSpec: Equatable, Sendable {
    package let id: String?
    /// Ports it has room for, 1 to 31.
    package let maximumPorts: Int
}

/// `virtconsole` or `virtserialport`: a port on the serial bus.
package struct SerialPortSpec: Equatable, Sendable {
    package let id: String?
    /// The id of the `-chardev`.
    package let chardev: String
    /// Its number on the bus, 0 to 30; nil for the first free one.
    package let number: Int?
}

extension SerialBusSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name")
        static let maxPorts = OptionKey(
            "max-ports", ValueType<Int>.number("a number of ports", 1...31), .standard("31"), "ports, 1 to 31")
    }

    static let keys = [Keys.id.description, Keys.maxPorts.description]

    static func decode(_ reader: KeyReader) throws(OptionError) -> SerialBusSpec {
        SerialBusSpec(id: try reader.id(Keys.id), maximumPorts: try reader.value(Keys.maxPorts))
    }
}

extension SerialPortSpec {
    private enum Keys {
        static let id = OptionKey("id", .deviceID, "its name")
        static let chardev = OptionKey("chardev", .identifier, .required, "the id of the -chardev")
        static let nr = OptionKey(
            "nr", ValueType<Int>.number("the number of a port", 0...30),
            "its number on the bus, the first free one if not given; 0 is for a console only")
    }

    static let keys = [Keys.chardev.description, Keys.id.description, Keys.nr.description]

    static func decode(_ reader: KeyReader, isConsole: Bool) throws(OptionError) -> SerialPortSpec {
        let number = try reader.optional(Keys.nr)
        if number == 0, !isConsole {
            throw reader.error(Keys.nr, "is for a virtconsole", remedy: "a virtserialport has a number from 1 to 30")
        }
        return SerialPortSpec(
            id: try reader.id(Keys.id), chardev: try reader.value(Keys.chardev), number: number)
    }
}
