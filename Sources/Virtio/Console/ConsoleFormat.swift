/// Features of a console device (virtio 1.2 section 5.3.3).
extension Features {
    /// `VIRTIO_CONSOLE_F_MULTIPORT`: there are several ports, and queues for control messages.
    package static let consoleMultiport = Features(bit: 1)
    /// `VIRTIO_CONSOLE_F_EMERG_WRITE`: a character can be written without a queue.
    package static let consoleEmergencyWrite = Features(bit: 2)
}

/// A control message, about one port (virtio 1.2 section 5.3.6.2).
struct ConsoleControl: Equatable {
    var port: UInt32
    var event: ConsoleEvent
    var value: UInt16

    /// Bytes of a message; a port's name follows them.
    static let size = 8

    init(port: UInt32, event: ConsoleEvent, value: UInt16) {
        self.port = port
        self.event = event
        self.value = value
    }

    /// Takes a message out of a driver's buffers; nil if there are too few bytes. What follows is left.
    init?(taking bytes: SliceList) {
        guard bytes.byteCount >= Self.size, let port = bytes.take(UInt32.self), let event = bytes.take(UInt16.self),
            let value = bytes.take(UInt16.self)
        else { return nil }
        self.init(port: port, event: ConsoleEvent(rawValue: event), value: value)
    }

    /// Stores the message; false, and nothing is stored, if there is no room.
    func put(into bytes: SliceList) -> Bool {
        guard bytes.byteCount >= Self.size else { return false }
        return bytes.put(port) && bytes.put(event.rawValue) && bytes.put(value)
    }
}

/// What a control message says.
struct ConsoleEvent: RawRepresentable, Equatable {
    let rawValue: UInt16

    /// The driver is ready for the device, if the value is 1.
    static let deviceReady = ConsoleEvent(rawValue: 0)
    /// There is such a port.
    static let portAdd = ConsoleEvent(rawValue: 1)
    /// The driver is ready for the port, if the value is 1.
    static let portReady = ConsoleEvent(rawValue: 3)
    /// The port is a console.
    static let consolePort = ConsoleEvent(rawValue: 4)
    /// The port was opened (1) or closed (0) at the sender's end.
    static let portOpen = ConsoleEvent(rawValue: 6)
    /// The port's name follows.
    static let portName = ConsoleEvent(rawValue: 7)
}

/// The numbers of the queues (virtio 1.2 section 5.3.2).
enum ConsoleQueues {
    /// The device's control messages to the driver.
    static let controlToDriver = 2
    /// The driver's control messages to the device.
    static let controlToDevice = 3

    /// Where the driver receives what is sent to a port.
    static func input(ofPort number: Int) -> Int { number == 0 ? 0 : 2 * number + 2 }

    /// Where the driver sends what it writes to a port.
    static func output(ofPort number: Int) -> Int { input(ofPort: number) + 1 }

    /// The most descriptors of each queue of a device with room for `ports` ports.
    static func sizes(ports: Int) -> [UInt16] {
        [128, 128, 32, 32] + [UInt16](repeating: 128, count: 2 * (ports - 1))
    }
}
