import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Connections between programs of the guest and of the host, as both expect them.
@Suite struct VsockDeviceTests {
    typealias Operation = GuestPacket.Operation

    private static func data(_ count: Int, seed: UInt64 = 7) -> [UInt8] {
        var random = RandomBytes(seed: seed)
        return random.bytes(count)
    }

    // MARK: Beginnings

    @Test func theDriverLearnsItsAddress() throws {
        let rig = try VsockRig()
        #expect(rig.guest.driver.readConfig(UInt64.self, at: 0) == 3)
        #expect(rig.guest.driver.read(.deviceID) == 19)
        let offered = rig.guest.driver.offeredFeatures
        #expect(offered.contains(Features(bit: 0)), "streams")
        #expect(!offered.contains(Features(bit: 1)), "sequenced packets")
    }

    @Test func theHostConnects() throws {
        let rig = try VsockRig()
        let program = try rig.program("CONNECT 52\n")
        let request = try rig.guest.next()
        #expect(request.operation == Operation.request && request.type == 1)
        #expect(request.sourceCID == 2 && request.destinationCID == 3 && request.destinationPort == 52)
        #expect(request.bufferSize >= 64 << 10 && request.forwarded == 0)
        #expect(program.collect().isEmpty)
        try rig.guest.send(GuestPacket(Operation.response, 52, request.sourcePort))
        try rig.wait { program.text == "OK \(request.sourcePort)\n" }
        program.write(Array("ping".utf8))
        let ping = try rig.guest.next()
        #expect(ping.operation == Operation.data && ping.data == Array("ping".utf8))
        #expect(ping.sourcePort == request.sourcePort && ping.destinationPort == 52)
        program.received = []
        try rig.guest.send(GuestPacket(Operation.data, 52, request.sourcePort, Array("pong".utf8)))
        try rig.wait { program.text == "pong" }
    }

    @Test func eachConnectionOfTheHostHasItsOwnPort() throws {
        let rig = try VsockRig()
        let first = try rig.connectFromHost()
        let second = try rig.connectFromHost()
        #expect(first.1 != second.1)
        second.0.write([2])
        #expect(try rig.guest.next().sourcePort == second.1)
        first.0.write([1])
        #expect(try rig.guest.next().sourcePort == first.1)
    }

    @Test func theGuestConnects() throws {
        let rig = try VsockRig()
        let listener = try rig.listener(1024)
        let program = try rig.connectFromGuest(700, to: listener, 1024)
        try rig.guest.send(GuestPacket(Operation.data, 700, 1024, Array("hello".utf8)))
        try rig.wait { program.text == "hello" }
        program.write(Array("welcome".utf8))
        let answer = try rig.guest.next()
        #expect(answer.data == Array("welcome".utf8) && answer.sourcePort == 1024 && answer.destinationPort == 700)
    }

    @Test func whereNobodyListensTheGuestIsRefused() throws {
        let rig = try VsockRig()
        for _ in 0..<3 {
            try rig.guest.send(GuestPacket(Operation.request, 700, 1024))
            let answer = try rig.guest.next()
            #expect(answer.operation == Operation.reset && answer.sourcePort == 1024 && answer.destinationPort == 700)
        }
        #expect(rig.device.connectionCount == 0)
        // Whoever listens may come late, go, and come again.
        for _ in 0..<3 {
            let listener = try rig.listener(1024)
            let program = try rig.connectFromGuest(700, to: listener, 1024)
            try rig.guest.send(GuestPacket(Operation.reset, 700, 1024))
            try rig.wait { program.isAtEnd }
            _ = consume listener
            try rig.guest.send(GuestPacket(Operation.request, 701, 1024))
            #expect(try rig.guest.next().operation == Operation.reset)
        }
        #expect(rig.device.connectionCount == 0)
    }

    @Test func aRefusedProgramSeesTheEnd() throws {
        let rig = try VsockRig()
        let program = try rig.program("CONNECT 52\n")
        let request = try rig.guest.next()
        try rig.guest.send(GuestPacket(Operation.reset, 52, request.sourcePort))
        try rig.wait { program.isAtEnd }
        #expect(program.received.isEmpty)
        #expect(rig.device.connectionCount == 0)
    }

    @Test func aProgramThatGivesUpIsForgotten() throws {
        let rig = try VsockRig()
        let program = try rig.program("CONNECT 52\n")
        let request = try rig.guest.next()
        program.close()
        let reset = try rig.guest.next()
        #expect(reset.operation == Operation.reset && reset.sourcePort == request.sourcePort)
        try rig.wait { rig.device.connectionCount == 0 }
        // The guest's answer comes too late.
        try rig.guest.send(GuestPacket(Operation.response, 52, request.sourcePort))
        #expect(try rig.guest.next().operation == Operation.reset)
    }

    @Test(arguments: ["CONNECT 52\n", "connect 52\n", "CONNECT 52\r\n", "CONNECT  52\n", "CONNECT 0052\n"])
    func linesThatConnect(_ line: String) throws {
        let rig = try VsockRig()
        // However it comes in pieces, and whatever follows it.
        let program = try rig.program()
        for byte in line.utf8 {
            program.write([byte])
            rig.guest.driver.settle()
        }
        #expect(try rig.guest.next().destinationPort == 52)
        let early = try rig.program(line + "data\n")
        let request = try rig.guest.next()
        #expect(request.destinationPort == 52)
        try rig.guest.send(GuestPacket(Operation.response, 52, request.sourcePort))
        #expect(try rig.guest.next().data == Array("data\n".utf8))
        try rig.wait { early.text == "OK \(request.sourcePort)\n" }
    }

    @Test(arguments: [
        "CONNECT\n", "CONNECT \n", "\n", "CONNECT 4294967296\n", "CONNECT -1\n", "CONNECT +1\n", "CONNECT 5x\n",
        "CONNECT 5 2\n", "LISTEN 52\n", "GET / HTTP/1.1\r\n", "CONNECT 00000000000000000000000052\n", "CONNECT\t52\n",
        "\0\0\0\0\n", "CONNECT 5\u{665}\n",
    ])
    func linesThatDoNot(_ line: String) throws {
        let rig = try VsockRig()
        let program = try rig.program(line)
        try rig.wait { program.isAtEnd }
        #expect(program.received.isEmpty && rig.guest.settled().isEmpty)
        #expect(rig.device.connectionCount == 0)
        try rig.expectWorks()
    }

    @Test func aProgramThatSaysNothingIsForgottenWhenItGoes() throws {
        let rig = try VsockRig()
        let silent = try rig.program()
        let halfway = try rig.program("CONN")
        try rig.wait { rig.device.connectionCount == 2 }
        silent.close()
        halfway.close()
        try rig.wait { rig.device.connectionCount == 0 }
        #expect(rig.guest.settled().isEmpty)
    }

    @Test func aBusyListenerIsTriedAgain() throws {
        let rig = try VsockRig()
        let listener = try rig.listener(9, backlog: 0)
        for port in 0..<3 as Range<UInt32> { try rig.guest.send(GuestPacket(Operation.request, 100 + port, 9)) }
        #expect(try rig.guest.next().operation == Operation.response)
        let others = rig.guest.settled()
        #expect(others.isEmpty, "\(others)")
        var programs: [HostProgram] = []
        for _ in 0..<2 {
            programs.append(try listener.accept())
            let answer = try rig.guest.next()
            #expect(answer.operation == Operation.response, "\(answer)")
        }
    }

    // MARK: Ends

    @Test func theHostEndsItsDirection() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        program.write(Array("last".utf8))
        program.shutDown(writing: true)
        #expect(try rig.guest.next().data == Array("last".utf8))
        let end = try rig.guest.next()
        #expect(end.operation == Operation.shutdown && end.flags == 2)
        // The guest still sends.
        try rig.guest.send(GuestPacket(Operation.data, 52, port, Array("answer".utf8)))
        try rig.wait { program.text == "answer" }
        var over = GuestPacket(Operation.shutdown, 52, port)
        over.flags = 3
        try rig.guest.send(over)
        #expect(try rig.guest.next().operation == Operation.reset)
        try rig.wait { program.isAtEnd }
        #expect(rig.device.connectionCount == 0)
    }

    @Test func theGuestEndsItsDirection() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        try rig.guest.send(GuestPacket(Operation.data, 52, port, Array("last".utf8)))
        var end = GuestPacket(Operation.shutdown, 52, port)
        end.flags = 2
        try rig.guest.send(end)
        try rig.wait { program.isAtEnd }
        #expect(program.text == "last")
        program.write(Array("answer".utf8))
        #expect(try rig.guest.next().data == Array("answer".utf8))
        program.close()
        while true {
            let over = try rig.guest.next()
            #expect(over.operation == Operation.shutdown)
            if over.flags == 3 { break }
        }
        try rig.guest.send(GuestPacket(Operation.reset, 52, port))
        try rig.wait { rig.device.connectionCount == 0 }
    }

    @Test func theGuestStopsReceiving() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        var end = GuestPacket(Operation.shutdown, 52, port)
        end.flags = 1
        try rig.guest.send(end)
        try rig.wait { program.write([1]) == 0 }
        try rig.guest.send(GuestPacket(Operation.data, 52, port, [7]))
        try rig.wait { program.collect() == [7] }
        program.close()
        let over = try rig.guest.next()
        #expect(over.operation == Operation.shutdown && over.flags == 3)
    }

    @Test func theHostIsGone() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        program.write(Self.data(9000))
        program.close()
        var came: [UInt8] = []
        var flags: UInt32 = 0
        while flags != 3 {
            let packet = try rig.guest.next()
            if packet.operation == Operation.shutdown { flags = packet.flags }
            came += packet.data
        }
        #expect(came == Self.data(9000))
        // What the guest sends now goes nowhere, and does no harm.
        try rig.guest.send(GuestPacket(Operation.data, 52, port, [1]))
        #expect(rig.guest.settled().isEmpty)
        #expect(rig.device.connectionCount == 1)
        var over = GuestPacket(Operation.shutdown, 52, port)
        over.flags = 3
        try rig.guest.send(over)
        #expect(try rig.guest.next().operation == Operation.reset)
        #expect(rig.device.connectionCount == 0)
    }

    @Test func theGuestIsGoneAndItsDataArrives() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        let data = Self.data(250_000)
        for start in stride(from: 0, to: data.count, by: 50_000) {
            try rig.guest.send(GuestPacket(Operation.data, 52, port, Array(data[start..<start + 50_000])))
        }
        var over = GuestPacket(Operation.shutdown, 52, port)
        over.flags = 3
        try rig.guest.send(over)
        while try rig.guest.next().operation != Operation.reset {}
        // The same ports are free for another connection while the host still reads.
        let listener = try rig.listener(port)
        _ = try rig.connectFromGuest(52, to: listener, port)
        try rig.wait { program.isAtEnd }
        #expect(program.received == data)
        #expect(rig.device.connectionCount == 1)
    }

    @Test func aPortThatTheGuestUsesAgain() throws {
        let rig = try VsockRig()
        let listener = try rig.listener(5)
        let first = try rig.connectFromGuest(70, to: listener, 5)
        first.close()
        while try rig.guest.next().flags != 3 {}
        let second = try rig.connectFromGuest(70, to: listener, 5)
        second.write([9])
        #expect(try rig.guest.next().data == [9])
        #expect(rig.device.connectionCount == 1)
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
        rig.guest.driver.transport.pause { isPaused = true }
        try rig.guest.driver.wait { isPaused }
        for packet in rig.guest.settled() { came += packet.data }
        // Programs may come and write meanwhile; the guest's memory stays as it is.
        let late = try rig.program("CONNECT 60\n")
        let before = rig.guest.driver.memory.host.bytes
        rig.guest.driver.settle()
        #expect(rig.guest.driver.memory.host.bytes == before)
        rig.guest.driver.transport.resume()
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

    @Test func theTransportIsReset() throws {
        let rig = try VsockRig()
        let (program, _) = try rig.connectFromHost()
        let buffer = try rig.guest.driver.allocate(8)
        rig.guest.eventQueue.setChain([DriverQueue.Buffer(buffer, 8, isWritable: true)])
        rig.guest.eventQueue.submit(0)
        rig.guest.driver.settle()
        #expect(rig.guest.eventQueue.usedCount == 0)
        try rig.guest.driver.memory.store(UInt64.max, at: buffer)
        rig.device.resetTransport()
        try rig.wait { rig.guest.eventQueue.usedCount == 1 && program.isAtEnd }
        #expect(rig.guest.eventQueue.takeUsed()?.written == 4)
        #expect(try rig.guest.driver.memory.load(at: buffer, as: UInt32.self) == 0)
    }

    @Test func aRemovedDeviceLeavesNothingBehind() throws {
        weak var device: VsockDevice?
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
