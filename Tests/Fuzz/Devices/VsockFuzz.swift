import Backends
import EventLoop
import Glibc
import Host
import TestSupport
import Virtio

/// Packets of a guest, and programs of the host that connect, talk and leave.
final class VsockFuzz: FuzzSubject {
    private let sockets: VsockSockets
    private let device: UnixVsockDevice
    private let stage: DeviceStage
    private let listener: FileDescriptor
    private let listenerPath: String
    private var programs: [Peer] = []
    /// Connections by their ports on the host and in the guest, as far as the guest has seen them.
    private var connections: [(UInt32, UInt32)] = []

    private static let port: UInt32 = 9

    init() throws {
        let path = temporaryPath("vsock-fuzz")
        sockets = try VsockSockets(path: path, id: "vsock0")
        var limits = UnixVsockDevice.Limits()
        limits.connections = 16
        device = UnixVsockDevice(id: "vsock0", guestCID: 3, sockets: sockets, limits: limits)
        stage = try DeviceStage(device)
        listenerPath = "\(path)_\(Self.port)"
        listener = try Socket.listen(unix: listenerPath)
        try listener.setNonBlocking(true)
    }

    deinit {
        sockets.close()
        try? removeFile(listenerPath)
    }

    func fuzz(_ input: inout FuzzInput) throws {
        programs = []
        connections = [(Self.port, 60)]
        // A device made from a state tells its driver first.
        if input.oneIn(4) { try device.restore(device.deviceState) }
        try stage.begin(&input)
        try stage.run(&input, compose: compose, event: event)
        try expect(device.connectionCount <= 16, "\(device.connectionCount) connections")
        try stage.end()
        for program in programs { program.close() }
        accept()
        programs = []
        var left = 50
        while device.connectionCount > 0, left > 0 {
            stage.driver.reactor.turn(waiting: false)
            left -= 1
        }
        try expect(device.connectionCount == 0, "\(device.connectionCount) connections are left after a reset")
        // A packet for no connection is answered.
        _ = try stage.probe(1, readable: [GuestPacket(GuestPacket.Operation.data, 1, 1).header])
    }

    /// Takes the guest's connections.
    private func accept() {
        while case let number = Glibc.accept(listener.rawValue, nil, nil), number >= 0 {
            if let peer = try? Peer(FileDescriptor(owning: number)) { programs.append(peer) }
        }
    }

    private func event(_ input: inout FuzzInput) throws {
        if programs.count < 24, input.oneIn(3), let peer = try? Peer(unix: sockets.path) {
            peer.write(
                input.pick(["CONNECT 52\n", "CONNECT 53\n", "CONNECT ", "connect 1\n", "CONNECT 4294967296\n", "\n"]))
            programs.append(peer)
        }
        accept()
        try stage.turn(3)
        connections = [(Self.port, 60)] + Array(zip(stage.written(to: 0, at: 16), stage.written(to: 0, at: 20)))
        if input.oneIn(8) { return try flood(&input) }
        guard !programs.isEmpty else { return }
        let program = programs[input.below(programs.count)]
        switch input.below(8) {
        case 0: programs.remove(at: input.below(programs.count)).close()
        case 1: program.shutDownWriting()
        case 2, 3: _ = program.read()
        case 4: program.write("52\n")
        default: _ = program.write([UInt8](repeating: input.byte(), count: input.pick([10, 1, 4096, 70_000])))
        }
    }

    /// More data than a socket holds.
    private func flood(_ input: inout FuzzInput) throws {
        let (hostPort, guestPort) = connections[input.below(connections.count)]
        let data = [UInt8](repeating: 8, count: input.pick([60_000, 40_000, 64 << 10]))
        let packet = GuestPacket(GuestPacket.Operation.data, guestPort, hostPort, data)
        for _ in 0..<1 + input.below(6) {
            var noInput = FuzzInput([])
            try stage.offer(DeviceRequest(readable: packet.header + data), on: 1, &noInput)
            stage.kick(1)
            try stage.turn(2)
            try stage.collect(1)
        }
    }

    private func compose(_ queue: Int, _ input: inout FuzzInput) -> DeviceRequest {
        switch queue {
        case 0: return DeviceRequest(writable: input.oneIn(8) ? input.below(100) : input.pick([4140, 44, 65580, 200]))
        case 1: return DeviceRequest(readable: packet(&input))
        default: return DeviceRequest(writable: input.pick([4, 8, 3, 0]))
        }
    }

    private func packet(_ input: inout FuzzInput) -> [UInt8] {
        if input.oneIn(16) { return input.take(input.below(60)) }
        let data = [UInt8](repeating: 7, count: input.pick([0, 1, 100, 4096, 60_000]))
        let operation: UInt16 = input.oneIn(16) ? input.integer() : input.pick([1, 2, 5, 5, 3, 4, 6, 7, 0, 8])
        let hasData = operation == GuestPacket.Operation.data || input.oneIn(16)
        let (hostPort, guestPort) = connections[input.below(connections.count)]
        var packet = GuestPacket(operation, guestPort, hostPort, hasData ? data : [])
        if input.oneIn(8) { packet.sourcePort = input.pick([52, 53, 60, 61]) }
        if input.oneIn(16) { packet.sourceCID = input.integer() }
        if input.oneIn(16) { packet.destinationCID = input.integer() }
        if input.oneIn(16) { packet.type = input.integer() }
        if input.oneIn(16) { packet.length = input.integer() }
        if input.oneIn(4) { packet.bufferSize = input.oneIn(2) ? input.integer() : UInt32(input.byte()) }
        if input.oneIn(4) { packet.forwarded = input.oneIn(2) ? input.integer() : UInt32(input.integer(UInt16.self)) }
        if operation == GuestPacket.Operation.shutdown { packet.flags = UInt32(input.below(4)) }
        if input.oneIn(32) { packet.destinationPort = input.integer() }
        return packet.header + packet.data
    }
}
