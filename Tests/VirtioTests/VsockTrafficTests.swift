import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What goes over connections, how much of it, and what becomes of it when the machine pauses or the driver goes.
@Suite struct VsockTrafficTests {
    typealias Operation = GuestPacket.Operation

    private static func data(_ count: Int, seed: UInt64 = 7) -> [UInt8] {
        var random = RandomBytes(seed: seed)
        return random.bytes(count)
    }

    // MARK: Credit

    @Test func theGuestGetsNoMoreThanItHasRoomFor() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost(bufferSize: 10_000)
        let data = Self.data(30_000)
        program.write(data)
        var came: [UInt8] = []
        while came.count < 10_000 { came += try rig.guest.next().data }
        #expect(try rig.guest.next().operation == Operation.creditRequest)
        #expect(rig.guest.settled().isEmpty)
        #expect(came.count == 10_000)
        // Room for as much again, and then for one byte.
        for (forwarded, total) in [(10_000, 20_000), (10_001, 20_001)] as [(UInt32, Int)] {
            var update = GuestPacket(Operation.creditUpdate, 52, port)
            update.bufferSize = 10_000
            update.forwarded = forwarded
            try rig.guest.send(update)
            while came.count < total { came += try rig.guest.next().data }
            let others = rig.guest.settled()
            #expect(others.allSatisfy { $0.operation == Operation.creditRequest }, "\(others)")
        }
        #expect(came == Array(data.prefix(20_001)))
    }

    @Test func aSlowReaderStopsItsWriterAlone() throws {
        let rig = try VsockRig()
        let (slow, port) = try rig.connectFromHost()
        let (quick, other) = try rig.connectFromHost(53)
        let data = Self.data(500_000)
        var (sent, forwarded, window) = (0, 0, 256 << 10)
        // Until neither the socket nor the device takes more.
        while true {
            let count = min(1000, window - (sent - forwarded))
            if count > 0 {
                try rig.guest.send(GuestPacket(Operation.data, 52, port, Array(data[sent..<sent + count])))
                sent += count
                continue
            }
            let updates = rig.guest.settled().filter { $0.destinationPort == 52 }
            guard let last = updates.last, sent < 490_000 else { break }
            (forwarded, window) = (Int(last.forwarded), Int(last.bufferSize))
        }
        #expect(sent >= 256 << 10)
        // The guest's own buffers are free again: others get on.
        #expect(rig.guest.packetsHeld <= 64)
        try rig.guest.send(GuestPacket(Operation.data, 53, other, [1, 2]))
        try rig.wait { quick.collect() == [1, 2] }
        quick.write([3])
        #expect(try rig.guest.next().data == [3])
        try rig.wait { slow.collect().count == sent }
        #expect(slow.received == Array(data.prefix(sent)))
        // All has left, and the guest knows.
        try rig.guest.send(GuestPacket(Operation.creditRequest, 52, port))
        var last = try rig.guest.next()
        while let next = rig.guest.settled().last { last = next }
        #expect(last.operation == Operation.creditUpdate && Int(last.forwarded) == sent)
    }

    @Test func manySlowReadersLeaveRoomForOthers() throws {
        let rig = try VsockRig(buffers: 128)
        var slow: [(HostProgram, UInt32)] = []
        for _ in 0..<16 { slow.append(try rig.connectFromHost()) }
        // Full sockets first, packets in the device then.
        let filler = Self.data(16 << 10)
        var sent = [Int](repeating: 0, count: slow.count)
        for _ in 0..<16 {
            for index in slow.indices {
                try rig.guest.send(GuestPacket(Operation.data, 52, slow[index].1, filler))
                sent[index] += filler.count
                rig.guest.collect()
            }
        }
        let (quick, port) = try rig.connectFromHost(53)
        for byte in 0..<100 as Range<UInt8> { try rig.guest.send(GuestPacket(Operation.data, 53, port, [byte])) }
        try rig.wait { quick.collect().count == 100 }
        #expect(quick.received == Array(0..<100))
        for (index, (program, _)) in slow.enumerated() {
            try rig.wait { program.collect().count == sent[index] }
            #expect(program.received == [[UInt8]](repeating: filler, count: 16).flatMap(\.self))
        }
        #expect(rig.guest.packetsHeld == 0)
    }

    // MARK: Many

    @Test func manyConnectionsAtOnce() throws {
        let rig = try VsockRig(buffers: 128)
        let listener = try rig.listener(9)
        var programs: [HostProgram] = []
        for index in 0..<200 as Range<UInt32> {
            programs.append(
                index % 2 == 0
                    ? try rig.connectFromGuest(1000 + index, to: listener, 9) : try rig.connectFromHost(1000 + index).0)
        }
        for (index, program) in programs.enumerated() { program.write(Self.data(5000, seed: UInt64(index))) }
        var came: [UInt32: [UInt8]] = [:]
        while came.values.reduce(0, { $0 + $1.count }) < 200 * 5000 {
            let packet = try rig.guest.next()
            came[packet.destinationPort, default: []] += packet.data
        }
        for index in 0..<200 { #expect(came[UInt32(1000 + index)] == Self.data(5000, seed: UInt64(index))) }
        for program in programs { program.close() }
        var ended = 0
        while ended < 200 {
            let packet = try rig.guest.next()
            guard packet.operation == Operation.shutdown, packet.flags == 3 else { continue }
            ended += 1
            try rig.guest.send(GuestPacket(Operation.reset, packet.destinationPort, packet.sourcePort))
        }
        try rig.wait { rig.device.connectionCount == 0 }
    }

    @Test func oneStreamDoesNotStarveAnother() throws {
        let rig = try VsockRig(buffers: 16)
        let (bulk, _) = try rig.connectFromHost(1, bufferSize: .max)
        let (small, _) = try rig.connectFromHost(2)
        bulk.write(Self.data(150_000))
        small.write([5])
        var before = 0
        while true {
            let packet = try rig.guest.next()
            if packet.destinationPort == 2 { break }
            before += packet.data.count
        }
        #expect(before < 150_000)
    }

    @Test func tooManyConnectionsAreRefused() throws {
        let rig = try VsockRig { $0.connections = 4 }
        let listener = try rig.listener(9)
        var programs: [HostProgram] = []
        for port in 0..<4 as Range<UInt32> { programs.append(try rig.connectFromGuest(port, to: listener, 9)) }
        try rig.guest.send(GuestPacket(Operation.request, 4, 9))
        let refused = try rig.guest.next()
        #expect(refused.operation == Operation.reset && refused.destinationPort == 4)
        let program = try rig.program("CONNECT 1\n")
        try rig.wait { program.isAtEnd }
        #expect(program.received.isEmpty)
        // One whose end the guest has not confirmed makes room.
        programs.removeFirst().close()
        while try rig.guest.next().flags != 3 {}
        try rig.guest.send(GuestPacket(Operation.request, 5, 9))
        let answers = [try rig.guest.next(), try rig.guest.next()]
        #expect(answers.map(\.operation).sorted() == [Operation.response, Operation.reset])
        #expect(answers.first { $0.operation == Operation.reset }?.destinationPort == 0)
        // And so does one that is over.
        try rig.guest.send(GuestPacket(Operation.reset, 1, 9))
        try rig.wait { rig.device.connectionCount == 3 }
        _ = try rig.connectFromGuest(6, to: listener, 9)
    }

    // MARK: Life

    @Test func aPauseHoldsTrafficWithoutLoss() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        let data = Self.data(100_000)
        program.write(data)
        try rig.guest.send(GuestPacket(Operation.data, 52, port, [1]))
        var came: [UInt8] = []
        while came.count < 8000 { came += try rig.guest.next().data }
        var isPaused = false
        rig.guest.driver.virtio.pause { isPaused = true }
        try rig.guest.driver.wait { isPaused }
        for packet in rig.guest.settled() { came += packet.data }
        // Programs may come and write meanwhile; the guest's memory stays as it is.
        let late = try rig.program("CONNECT 60\n")
        let before = rig.guest.driver.memory.host.bytes
        rig.guest.driver.settle()
        #expect(rig.guest.driver.memory.host.bytes == before)
        rig.guest.driver.virtio.resume()
        var requested = false
        while came.count < data.count || !requested {
            let packet = try rig.guest.next()
            if packet.operation == Operation.request { requested = true }
            came += packet.data
        }
        #expect(came == data)
        try rig.wait { program.collect() == [1] }
        _ = late
    }

    @Test func aResetEndsAllConnections() throws {
        let rig = try VsockRig()
        let listener = try rig.listener(9)
        let programs = [
            try rig.connectFromHost().0, try rig.connectFromGuest(5, to: listener, 9), try rig.program("CONN"),
        ]
        try rig.wait { rig.device.connectionCount == 3 }
        programs[0].write(Self.data(100_000))
        try rig.guest.restart()
        for program in programs { try rig.wait { program.isAtEnd } }
        try rig.wait { rig.device.connectionCount == 0 }
        #expect(rig.guest.settled().isEmpty)
        try rig.expectWorks()
    }

    @Test func aProgramThatComesBeforeTheDriverIsServed() throws {
        let rig = try VsockRig()
        rig.guest.driver.write(.status, 0)
        rig.guest.driver.settle()
        // One finds the device without a driver and is sent away; the next ones wait.
        let first = try rig.program("CONNECT 1\n")
        try rig.guest.driver.wait { first.isAtEnd }
        let second = try rig.program("CONNECT 2\n")
        rig.guest.driver.settle()
        #expect(!second.isAtEnd)
        try rig.guest.restart()
        #expect(try rig.guest.next().destinationPort == 2)
    }

    @Test func aRemovedDeviceLeavesNothingBehind() throws {
        weak var device: UnixVsockDevice?
        do {
            let rig = try VsockRig()
            let listener = try rig.listener(9)
            let programs = [
                try rig.connectFromHost().0, try rig.connectFromGuest(5, to: listener, 9), try rig.program("CONN"),
            ]
            device = rig.device
            let path = rig.sockets.path
            try rig.guest.driver.retire()
            for program in programs { #expect(program.isAtEnd) }
            #expect(throws: Errno.noEntry) { try FileStatus(at: path) }
            rig.reactor.turn(waiting: false)
        }
        #expect(device == nil)
    }
}
