import Backends
import EventLoop
import Host
import TestSupport
import Virtio

/// Control messages, output and input of a console device with a console and two channels for data.
final class ConsoleFuzz: FuzzSubject {
    private let device: ConsoleDevice
    private let stage: DeviceStage
    private let paths: [String]
    private let chardevs: [Chardev]
    private var peers: [Peer] = []

    init() throws {
        let reactor = try Reactor(name: "fuzz")
        let paths = (0..<3).map { temporaryPath("console-fuzz-\($0)") }
        chardevs = try paths.enumerated().map { number, path in
            try .server(id: "char\(number)", unix: path, replaying: number == 0, on: reactor)
        }
        device = ConsoleDevice(
            id: "serial0",
            ports: zip([0, 1, 3], chardevs).map { number, chardev in
                ConsoleDevice.Port(
                    number: number, name: "org.port.\(number)", isConsole: number == 0, chardev: chardev)
            })
        self.paths = paths
        stage = try DeviceStage(device, reactor: reactor)
    }

    deinit {
        for chardev in chardevs { chardev.close() }
    }

    func fuzz(_ input: inout FuzzInput) throws {
        try stage.begin(&input)
        try stage.run(&input, compose: Self.compose, event: event)
        try stage.end()
        for peer in peers { peer.close() }
        peers = []
        for _ in 0..<8 { stage.driver.reactor.turn(waiting: false) }
        // Control messages are taken after whatever has happened.
        _ = try stage.probe(3, readable: [Self.message(.max, 0, 1)])
    }

    private func event(_ input: inout FuzzInput) throws {
        if peers.count < 6, input.oneIn(3), let peer = try? Peer(unix: paths[input.below(paths.count)]) {
            peers.append(peer)
        }
        try stage.turn(3)
        guard !peers.isEmpty else { return }
        switch input.below(6) {
        case 0: peers.remove(at: input.below(peers.count)).close()
        case 1, 2: _ = peers[input.below(peers.count)].read()
        default:
            let bytes = [UInt8](repeating: input.byte(), count: input.pick([10, 1, 4096, 200_000]))
            _ = peers[input.below(peers.count)].write(bytes)
        }
    }

    private static func message(_ port: UInt32, _ event: UInt16, _ value: UInt16) -> [UInt8] {
        littleEndian(port) + littleEndian(event) + littleEndian(value)
    }

    private static func compose(_ queue: Int, _ input: inout FuzzInput) -> DeviceRequest {
        if queue == 3 {
            if input.oneIn(8) { return DeviceRequest(readable: input.take(input.below(20))) }
            let port: UInt32 = input.oneIn(8) ? input.integer() : UInt32(input.below(5))
            let event: UInt16 = input.oneIn(8) ? input.integer() : UInt16(input.pick([3, 6, 0, 1, 2, 4, 5, 7]))
            return DeviceRequest(
                readable: message(port, event, input.oneIn(8) ? input.integer() : UInt16(input.below(2))))
        }
        // Even queues are the device's to write, odd ones the driver's.
        if queue % 2 == 0 {
            return DeviceRequest(writable: input.oneIn(8) ? input.below(12) : input.pick([64, 8, 4096, 1]))
        }
        let count = input.pick([5, 1, 0, 4096, 100_000])
        return DeviceRequest(
            readable: [UInt8](repeating: input.byte(), count: count), writable: input.oneIn(16) ? 9 : 0)
    }
}
