import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// How connections between programs of the guest and of the host begin and end, as both expect it.
@Suite struct VsockConnectionTests {
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

    @Test func aListenerOfTooLongAPathIsNone() throws {
        let rig = try VsockRig(pathLength: Socket.maximumPathLength - 4)
        let listener = try rig.listener(100)
        let program = try rig.connectFromGuest(1, to: listener, 100)
        try rig.guest.send(GuestPacket(Operation.request, 1, 1000))
        let answer = try rig.guest.next()
        #expect(answer.operation == Operation.reset && answer.sourcePort == 1000)
        try rig.expectWorks()
        #expect(!program.isAtEnd)
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
}
