import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A console device whose ports lead to sockets, and a driver that does with it what Linux's does.
final class ConsoleRig {
    /// A control message.
    struct Message: Equatable, CustomStringConvertible {
        var port: UInt32
        var event: UInt16
        var value: UInt16 = 1
        var name = ""

        var description: String { "(port \(port), event \(event), value \(value), '\(name)')" }

        var bytes: [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: port >> (8 * $0)) }
                + [event, value].flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        }
    }

    /// Events of control messages.
    enum Event {
        static let deviceReady: UInt16 = 0
        static let add: UInt16 = 1
        static let remove: UInt16 = 2
        static let ready: UInt16 = 3
        static let console: UInt16 = 4
        static let open: UInt16 = 6
        static let name: UInt16 = 7
    }

    let reactor: Reactor
    private(set) var device: ConsoleDevice
    let driver: VirtioDriver
    private(set) var queues: [DriverQueue] = []
    private let ports: [ConsoleDevice.Port]
    private var chardevs: [Int: Chardev] = [:]
    private var paths: [Int: String] = [:]
    /// The host's ends of devices that were replaced.
    private var former: [Chardev] = []
    /// The buffers that the device writes to: where the one of each head lies, by queue.
    private var buffers: [Int: [GuestAddress]] = [:]
    private static let bufferSize = 4096

    /// A console at each of the numbers in `consoles`, and a channel for data at each of those in `channels`.
    init(
        consoles: [Int] = [0], channels: [Int] = [], memory: Int = 4 << 20,
        chardev: (Int, Reactor) throws -> Chardev? = { _, _ in nil }
    ) throws {
        reactor = try Reactor(name: "test")
        var ports: [ConsoleDevice.Port] = []
        for number in consoles + channels {
            let isConsole = consoles.contains(number)
            let path = temporaryPath("console")
            let chardev =
                try chardev(number, reactor)
                ?? .server(id: "char\(number)", unix: path, replaying: isConsole, on: reactor)
            chardevs[number] = chardev
            paths[number] = path
            ports.append(
                ConsoleDevice.Port(number: number, name: "org.port.\(number)", isConsole: isConsole, chardev: chardev))
        }
        self.ports = ports
        device = ConsoleDevice(id: "serial0", ports: ports)
        driver = try VirtioDriver(device, memory: try GuestMemory(size: memory), reactor: reactor)
    }

    deinit {
        for chardev in Array(chardevs.values) + former { chardev.close() }
    }

    /// Puts a fresh device with host ends of its own in the place of this one: restored from its state after `change`.
    ///
    /// - Parameter clients: the ports to which a program connects before the device starts.
    /// - Returns: those programs, in the same order.
    func restore(clients: [Int] = [], _ change: (inout ConsoleDevice.State) -> Void = { _ in }) throws -> [Peer] {
        let (ports, paths, chardevs) = try Self.replace(ports, on: reactor)
        let fresh = ConsoleDevice(id: "serial1", ports: ports)
        let peers = try clients.map { try Peer(unix: try #require(paths[$0])) }
        try driver.wait { clients.allSatisfy { chardevs[$0]?.isOpen == true } }
        try driver.pause()
        guard case .console(var state) = device.deviceState else { throw VirtioDriver.Failure.stopped }
        change(&state)
        try fresh.restore(.console(state))
        try driver.exchangeDevice(fresh)
        former += self.chardevs.values
        (device, self.paths, self.chardevs) = (fresh, paths, chardevs)
        return peers
    }

    /// The same ports with host ends of their own.
    private static func replace(
        _ ports: [ConsoleDevice.Port], on reactor: Reactor
    ) throws -> ([ConsoleDevice.Port], [Int: String], [Int: Chardev]) {
        var paths: [Int: String] = [:]
        var chardevs: [Int: Chardev] = [:]
        let fresh = try ports.map { port in
            let path = temporaryPath("console")
            let chardev = try Chardev.server(
                id: "fresh\(port.number)", unix: path, replaying: port.isConsole, on: reactor)
            (paths[port.number], chardevs[port.number]) = (path, chardev)
            return ConsoleDevice.Port(
                number: port.number, name: port.name, isConsole: port.isConsole, chardev: chardev)
        }
        return (fresh, paths, chardevs)
    }

    /// The host's end of a port.
    func chardev(_ number: Int) throws -> Chardev { try #require(chardevs[number]) }

    /// A program on the host that connects to a port.
    func connect(_ number: Int) throws -> Peer {
        let wasOpen = try chardev(number).isOpen
        let peer = try Peer(unix: try #require(paths[number]))
        if !wasOpen { try driver.wait { chardevs[number]?.isOpen == true } }
        return peer
    }

    // MARK: The driver

    func inputQueue(_ number: Int) -> DriverQueue { queues[number == 0 ? 0 : 2 * number + 2] }

    func outputQueue(_ number: Int) -> DriverQueue { queues[number == 0 ? 1 : 2 * number + 3] }

    /// Starts the device without a word about its ports.
    func start(_ features: Features? = nil) throws {
        queues = try driver.start(features)
        buffers = [:]
    }

    /// Brings all ports up and opens them, as Linux does when programs open them.
    ///
    /// - Returns: what the device said.
    @discardableResult
    func boot(opening: Bool = true) throws -> [Message] {
        try start()
        try supply(queues[2], 32)
        try send(Message(port: .max, event: Event.deviceReady))
        var messages = try takeMessages()
        for message in messages { try send(Message(port: message.port, event: Event.ready)) }
        messages += try takeMessages()
        for message in messages where message.event == Event.add {
            try supply(inputQueue(Int(message.port)), 16)
            if opening { try send(Message(port: message.port, event: Event.open)) }
        }
        return messages
    }

    /// Sends a control message.
    func send(_ message: Message) throws {
        _ = try driver.exchange(on: queues[3], readable: [message.bytes])
    }

    /// Offers a queue `count` empty buffers.
    func supply(_ queue: DriverQueue, _ count: Int, size: Int = bufferSize) throws {
        let first = buffers[queue.index]?.count ?? 0
        for head in first..<first + count {
            let address = try driver.allocate(size)
            buffers[queue.index, default: []].append(address)
            queue.setDescriptor(head, address: address.rawValue, count: UInt32(size), flags: DriverQueue.Flag.write)
            queue.offer(UInt16(head))
        }
        queue.publish()
        queue.kickIfWanted()
    }

    /// What the device has said by now; the buffers go back to it.
    func takeMessages() throws -> [Message] {
        driver.settle()
        return try takeBuffers(queues[2]).map { bytes in
            try #require(bytes.count >= 8, "a message of \(bytes.count) bytes")
            return Message(
                port: (0..<4).reduce(0) { $0 | UInt32(bytes[$1]) << UInt32(8 * $1) },
                event: UInt16(bytes[4]) | UInt16(bytes[5]) << 8, value: UInt16(bytes[6]) | UInt16(bytes[7]) << 8,
                name: String(decoding: bytes[8...], as: UTF8.self))
        }
    }

    /// What has arrived on a port; the buffers go back to the device.
    func takeInput(_ number: Int) throws -> [UInt8] {
        reactor.turn(waiting: false)
        return try takeBuffers(inputQueue(number)).flatMap(\.self)
    }

    private func takeBuffers(_ queue: DriverQueue) throws -> [[UInt8]] {
        var taken: [[UInt8]] = []
        while let used = queue.takeUsed() {
            let address = try #require(buffers[queue.index]?[Int(used.head)])
            taken.append(try driver.memory.read(count: Int(used.written), at: address))
            queue.offer(UInt16(used.head))
        }
        queue.publish()
        queue.kickIfWanted()
        return taken
    }

    /// Writes to a port and waits until the device has taken it.
    func write(_ number: Int, _ bytes: [UInt8]) throws {
        _ = try driver.exchange(on: outputQueue(number), readable: [bytes])
    }

    func write(_ number: Int, _ text: String) throws { try write(number, Array(text.utf8)) }

    /// Offers a port output in one chain, and does not wait for what becomes of it.
    func offer(_ number: Int, _ bytes: [UInt8]) throws {
        let address = try driver.allocate(bytes.count)
        try driver.memory.write(bytes, at: address)
        let queue = outputQueue(number)
        queue.setDescriptor(0, address: address.rawValue, count: UInt32(bytes.count))
        queue.submit(0)
        driver.settle()
    }
}
