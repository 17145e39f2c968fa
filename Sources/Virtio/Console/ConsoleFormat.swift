/// Features of a console device (virtio 1.2 section 5.3.3).
extension Features {
    /// `VIRTIO_CONSOLE_F_MULTIPORT`: the device has several ports and control queues.
    package static let consoleMultiport = Features(bit: 1)
    /// `VIRTIO_CONSOLE_F_EMERG_WRITE`: the driver can write a character without a queue.
    package static let consoleEmergencyWrite = Features(bit: 2)
}

/// A control message about one port (virtio 1.2 section 5.3.6.2).
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

    /// Takes a message from a driver's buffers and leaves the bytes after it; nil if there are too few.
    init?(taking bytes: SliceList) {
        guard bytes.byteCount >= Self.size, let port = bytes.take(UInt32.self), let event = bytes.take(UInt16.self),
            let value = bytes.take(UInt16.self)
        else { return nil }
        self.init(port: port, event: ConsoleEvent(rawValue: event), value: value)
    }

    /// Stores the message; false, and nothing is stored, if it does not fit.
    func put(into bytes: SliceList) -> Bool {
        guard bytes.byteCount >= Self.size else { return false }
        return bytes.put(port) && bytes.put(event.rawValue) && bytes.put(value)
    }
}

/// The event of a control message.
struct ConsoleEvent: RawRepresentable, Equatable {
    let rawValue: UInt16

    /// The driver is ready for the device, if the value is 1.
    static let deviceReady = ConsoleEvent(rawValue: 0)
    /// The port exists.
    static let portAdd = ConsoleEvent(rawValue: 1)
    /// The driver is ready for the port, if the value is 1.
    static let portReady = ConsoleEvent(rawValue: 3)
    /// The port is a console.
    static let consolePort = ConsoleEvent(rawValue: 4)
    /// The sender opened (1) or closed (0) its end of the port.
    static let portOpen = ConsoleEvent(rawValue: 6)
    /// The port's name follows.
    static let portName = ConsoleEvent(rawValue: 7)
}

/// The numbers of the queues (virtio 1.2 section 5.3.2).
enum ConsoleQueues {
    /// Control messages to the driver.
    static let controlToDriver = 2
    /// Control messages to the device.
    static let controlToDevice = 3

    /// The queue for input of a port.
    static func input(ofPort number: Int) -> Int { number == 0 ? 0 : 2 * number + 2 }

    /// The queue for output of a port.
    static func output(ofPort number: Int) -> Int { input(ofPort: number) + 1 }

    /// The sizes of the queues of a device with port numbers below `ports`.
    static func sizes(ports: Int) -> [UInt16] {
        [128, 128, 32, 32] + [UInt16](repeating: 128, count: 2 * (ports - 1))
    }
}
