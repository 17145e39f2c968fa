import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// A back end that answers a vhost-user front end anything, at any time, or leaves.
///
/// The device is one of a file system, whose queues are all the back end's.
final class VhostUserFuzz: FuzzSubject {
    private let reactor: Reactor
    private let memory: GuestMemory
    private let door: BackEndDoor
    /// What has come of the front end and is no whole message yet.
    private var received: [UInt8] = []

    private static let features: UInt64 = 1 << 32 | 1 << 30 | 3 << 28

    init() throws {
        reactor = try Reactor(name: "fuzz")
        let size = 1 << 20
        let file = try FileDescriptor.memory(name: "fuzz")
        try file.truncate(to: UInt64(size))
        memory = try GuestMemory(
            ranges: [(GuestAddress(0), UInt64(size))],
            mapping: try MappedRegion(file: file, count: size, shared: true), file: consume file)
        door = try BackEndDoor(firstReply: Self.reply(1, Self.features))
    }

    deinit { door.close() }

    func fuzz(_ input: inout FuzzInput) throws {
        received = []
        door.greets = true
        let endpoint = try VhostUserEndpoint.connect(door.path)
        door.greets = false
        let client = VhostUserClient(endpoint, name: "fs0", reactor: reactor, patience: 100_000_000)
        let device = FileSystemDevice(id: "fs0", tag: "fuzz", client)
        let driver = try VirtioDriver(device, memory: memory, reactor: reactor)
        _ = try driver.start(queueSize: 4)
        var steps = 0
        while !input.isEmpty, steps < 100 {
            steps += 1
            switch input.below(16) {
            case 0: driver.virtio.pause {}
            case 1: driver.virtio.resume()
            case 2:
                driver.write(.status, 0)
                driver.nextFree = 0x1000
                _ = try? driver.start(queueSize: 4)
            case 3 where input.oneIn(4): door.hangUp()
            case 4 where input.oneIn(4): door.send(input.take(1 + input.below(30)))
            case 5: driver.write(.queueNotify, UInt32(input.below(3)))
            default: answer(&input)
            }
            reactor.turn(waiting: false)
        }
        try retire(driver)
    }

    /// Answers what has come, mostly as the protocol has it.
    private func answer(_ input: inout FuzzInput) {
        received += door.receive()
        while let message = takeMessage() {
            guard let proper = Self.properReply(message) else { continue }
            switch input.below(16) {
            case 11: door.send(Self.reply(message.request, input.integer()))
            case 12: door.send(Self.reply(message.request, input.integer(), flags: input.integer()))
            case 13:
                door.send(Self.reply(message.request, 0, size: input.oneIn(2) ? input.integer() : UInt32(input.byte())))
            case 14: door.send(Array(proper.prefix(input.below(20))) + input.take(input.below(20)))
            case 15: if input.oneIn(2) { door.send(proper + proper) }
            default: door.send(proper)
            }
        }
    }

    /// Removes the device, which must not take long whatever the back end has said or still owes.
    private func retire(_ driver: VirtioDriver) throws {
        var isDone = false
        driver.virtio.detachDevice { isDone = true }
        for turn in 0..<200 where !isDone {
            received += door.receive()
            while let message = takeMessage() {
                if let proper = Self.properReply(message) { door.send(proper) }
            }
            if turn == 20 { door.hangUp() }
            reactor.turn(waiting: false)
        }
        try driver.wait(seconds: 2) { isDone }
        door.hangUp()
    }

    // MARK: The protocol

    private struct Message {
        let request: UInt32
        let flags: UInt32
        let payload: [UInt8]
    }

    private func takeMessage() -> Message? {
        guard received.count >= 12 else { return nil }
        func word(_ offset: Int) -> UInt32 {
            received[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        let size = Int(word(8))
        guard received.count >= 12 + size else { return nil }
        let message = Message(request: word(0), flags: word(4), payload: Array(received[12..<12 + size]))
        received.removeFirst(12 + size)
        return message
    }

    private static func properReply(_ message: Message) -> [UInt8]? {
        typealias Request = FakeBackEnd.Request
        return switch message.request {
        case Request.getFeatures: reply(message.request, features)
        case Request.getProtocolFeatures: reply(message.request, 9)
        case Request.getQueueCount: reply(message.request, 8)
        case Request.getRingBase: reply(message.request, UInt64(message.payload.first ?? 0))
        default: message.flags & 8 != 0 ? reply(message.request, 0) : nil
        }
    }

    private static func reply(_ request: UInt32, _ value: UInt64, flags: UInt32 = 5, size: UInt32 = 8) -> [UInt8] {
        littleEndian(request) + littleEndian(flags) + littleEndian(size) + littleEndian(value)
    }
}
