import Backends
import Glibc
import Host
import TestSupport
import Virtio

/// Frames both ways and commands, on a card whose wire is a socket.
final class NetworkFuzz: FuzzSubject {
    private let host: FileDescriptor
    private let other: FileDescriptor
    private let device: NetDevice
    private let stage: DeviceStage

    private static let mac: [UInt8] = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]

    init() throws {
        var ends: [Int32] = [-1, -1]
        _ = try checked { unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) }
        host = FileDescriptor(owning: ends[0])
        try host.setNonBlocking(true)
        // A second pair of queues, on which nothing comes.
        var others: [Int32] = [-1, -1]
        _ = try checked { unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &others) }
        other = FileDescriptor(owning: others[0])
        var options = NetDevice.Options(mac: Self.mac)
        options.queueSize = 128
        device = NetDevice(
            id: "net0",
            tap: try Tap(standIn: [ends[1], others[1]], offloads: [.checksum, .tso4, .tso6, .ecn], mtu: 1500),
            options: options)
        stage = try DeviceStage(device)
    }

    func fuzz(_ input: inout FuzzInput) throws {
        device.setLink(up: true)
        try stage.begin(&input)
        try stage.run(&input, compose: Self.compose) { input in
            switch input.below(8) {
            case 0: device.setLink(up: input.oneIn(2))
            case 1: drain()
            default: send(Self.frame(&input))
            }
        }
        try stage.end()
        drain()
        // Whatever it was, the card still sends.
        device.setLink(up: true)
        let frame = [UInt8](repeating: 0, count: 12) + Self.mac + Self.mac + [8, 0] + [UInt8](repeating: 7, count: 50)
        _ = try stage.probe(1, readable: [frame])
        try expect((try? host.read(count: 4096)) == frame, "the card does not send after a reset")
    }

    private func drain() {
        while let bytes = try? host.read(count: 1 << 17), !bytes.isEmpty {}
    }

    /// An empty frame would be the end of the socket, which a tap has none of.
    private func send(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        _ = unsafe Glibc.send(host.rawValue, bytes, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    }

    /// A frame with its header, as a tap gives it.
    private static func frame(_ input: inout FuzzInput) -> [UInt8] {
        if input.oneIn(8) { return input.take(1 + input.below(64)) }
        var bytes = input.oneIn(4) ? input.take(10) : [UInt8](repeating: 0, count: 10)
        bytes += [UInt8](repeating: 0, count: 12 - bytes.count)
        bytes += input.pick([mac, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 9]])
        bytes += mac + (input.oneIn(4) ? [0x81, 0, input.byte(), input.byte()] : []) + [8, 0]
        return bytes + [UInt8](repeating: input.byte(), count: input.pick([46, 0, 200, 1500, 9000, 65535]))
    }

    private static func compose(_ queue: Int, _ input: inout FuzzInput) -> DeviceRequest {
        // The commands' queue is the last, and the third for a driver that has no use for several pairs.
        switch queue == 2 && input.oneIn(2) ? 4 : queue {
        case 0, 2:
            return DeviceRequest(
                writable: input.oneIn(8) ? input.below(80) : input.pick([1600, 12, 4096, 70_000, 65562]))
        case 1, 3:
            if input.oneIn(8) { return DeviceRequest(readable: input.take(input.below(64))) }
            return DeviceRequest(readable: frame(&input))
        default: return command(&input)
        }
    }

    /// A command of the control queue: class, number, and what belongs to it.
    private static func command(_ input: inout FuzzInput) -> DeviceRequest {
        var bytes: [UInt8] = [UInt8(input.below(7)), UInt8(input.below(6))]
        switch bytes[0] {
        case 0: bytes.append(UInt8(input.below(3)))
        case 1 where bytes[1] == 0:
            for _ in 0..<2 {
                let count = input.oneIn(8) ? input.integer() : UInt32(input.below(70))
                bytes += littleEndian(count)
                for _ in 0..<min(count, 80) { bytes += mac }
            }
        case 1: bytes += input.take(6)
        case 2: bytes += littleEndian(input.integer(UInt16.self))
        case 4: bytes += littleEndian(UInt16(input.below(4)))
        case 5: bytes += littleEndian(input.integer(UInt64.self))
        default: bytes += input.take(8)
        }
        if input.oneIn(8) { bytes = Array(bytes.prefix(input.below(bytes.count + 1))) }
        return DeviceRequest(readable: bytes, writable: input.oneIn(8) ? input.below(3) : 1)
    }
}
