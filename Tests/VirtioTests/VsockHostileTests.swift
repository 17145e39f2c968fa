import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver that means harm, or is broken, may send: each ends the one connection it is about, and no other.
@Suite struct VsockHostileTests {
    typealias Operation = GuestPacket.Operation

    /// What becomes of the connection that a packet is about.
    enum Outcome: Sendable {
        /// Nothing is sent, and the connection goes on.
        case ignored
        /// The guest gets a reset, and the program sees the end.
        case reset
        /// The guest gets a reset for what was no connection; this one goes on.
        case refused
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let outcome: Outcome
        let packet: @Sendable (_ guest: UInt32, _ host: UInt32) -> GuestPacket

        init(
            _ description: String, _ outcome: Outcome, _ operation: UInt16 = Operation.data, data: [UInt8] = [],
            _ change: @escaping @Sendable (inout GuestPacket) -> Void = { _ in }
        ) {
            testDescription = description
            self.outcome = outcome
            packet = { guest, host in
                var packet = GuestPacket(operation, guest, host, data)
                change(&packet)
                return packet
            }
        }
    }

    static let cases = [
        // Addresses.
        Case("another guest's CID", .ignored, data: [1]) { $0.sourceCID = 4 },
        Case("the host's CID as source", .ignored, data: [1]) { $0.sourceCID = 2 },
        Case("a source CID with high bits", .ignored, data: [1]) { $0.sourceCID = 1 << 32 | 3 },
        Case("to another guest", .refused, data: [1]) { $0.destinationCID = 4 },
        Case("to itself", .refused, data: [1]) { $0.destinationCID = 3 },
        Case("to the hypervisor", .refused, data: [1]) { $0.destinationCID = 0 },
        Case("to the largest CID", .refused, Operation.request) { $0.destinationCID = .max },
        Case("to a CID with high bits", .refused, data: [1]) { $0.destinationCID = 1 << 63 | 2 },
        Case("data from another port", .refused, data: [1]) { $0.sourcePort = 53 },
        Case("data to another port", .refused, data: [1]) { $0.destinationPort &+= 1 },
        Case("from and to the largest ports", .refused, Operation.shutdown) {
            ($0.sourcePort, $0.destinationPort) = (.max, .max)
        },
        Case("a request where nobody listens", .refused, Operation.request) { $0.sourcePort = 60 },
        Case("a response to no request", .refused, Operation.response) { $0.sourcePort = 60 },
        Case("credit for no connection", .refused, Operation.creditUpdate) { $0.sourcePort = 60 },
        Case("a reset of no connection", .ignored, Operation.reset) { $0.sourcePort = 60 },
        Case("a reset of a kind there is not", .ignored, Operation.reset) { $0.type = 9 },
        // Kinds and operations.
        Case("a datagram", .refused, data: [1]) { $0.type = 3 },
        Case("a sequenced packet", .refused, data: [1]) { $0.type = 2 },
        Case("a request for sequenced packets", .refused, Operation.request) { $0.type = 2 },
        Case("kind 0", .refused, data: [1]) { $0.type = 0 },
        Case("the largest kind", .refused, data: [1]) { $0.type = .max },
        Case("operation 0", .reset, 0),
        Case("operation 8", .reset, 8),
        Case("the largest operation", .reset, .max),
        Case("a second request", .reset, Operation.request),
        Case("a second response", .reset, Operation.response),
        // Lengths.
        Case("a byte more than there is", .reset, data: [1]) { $0.length = 2 },
        Case("more than there is, of nothing", .reset) { $0.length = 1 },
        Case("4 GiB", .reset, data: [1]) { $0.length = .max },
        Case("more than the credit", .reset, data: [UInt8](repeating: 1, count: 1)) { $0.length = 256 << 10 + 1 },
        Case("no data", .ignored),
        Case("no data, and bytes", .ignored, data: [1, 2, 3]) { $0.length = 0 },
        Case("credit with data", .ignored, Operation.creditUpdate, data: [1, 2, 3]),
        Case("credit that says it has data", .ignored, Operation.creditUpdate) { $0.length = 9 },
        Case("a shutdown of nothing", .ignored, Operation.shutdown),
        Case("a shutdown of what there is not", .ignored, Operation.shutdown) { $0.flags = 0xffff_fffc },
        // Lies about credit.
        Case("no room at all", .ignored, Operation.creditUpdate) { $0.bufferSize = 0 },
        Case("more gone than was sent", .ignored, Operation.creditUpdate) { $0.forwarded = 1 },
        Case("much more gone than was sent", .ignored, Operation.creditUpdate) { $0.forwarded = 0x8000_0000 },
        Case("the greatest of all", .ignored, Operation.creditUpdate) { ($0.bufferSize, $0.forwarded) = (.max, .max) },
    ]

    @Test(arguments: cases) func endsAtMostItsConnection(_ hostile: Case) throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        let (bystander, other) = try rig.connectFromHost(1234)
        try rig.guest.send(hostile.packet(52, port))
        let answers = rig.guest.settled()
        switch hostile.outcome {
        case .ignored: #expect(answers.isEmpty, "\(answers)")
        case .refused, .reset:
            #expect(answers.count == 1 && answers.first?.operation == Operation.reset, "\(answers)")
            let packet = hostile.packet(52, port)
            let answer = try #require(answers.first)
            #expect(answer.sourceCID == packet.destinationCID && answer.destinationCID == 3)
            #expect(answer.sourcePort == packet.destinationPort && answer.destinationPort == packet.sourcePort)
            #expect(answer.type == packet.type && answer.data.isEmpty)
        }
        #expect(program.isAtEnd == (hostile.outcome == .reset))
        #expect(program.received.isEmpty)
        if hostile.outcome != .reset {
            // Also a guest that lied gets on when it tells the truth.
            try rig.guest.send(GuestPacket(Operation.data, 52, port, [6]))
            try rig.wait { program.collect() == [6] }
            program.write([8])
            #expect(try rig.guest.next().data == [8])
        }
        #expect(rig.guest.packetsHeld == 0)
        try rig.guest.send(GuestPacket(Operation.data, 1234, other, [7]))
        try rig.wait { bystander.collect() == [7] }
        try rig.expectWorks()
    }

    // MARK: Order

    @Test(arguments: [Operation.data, Operation.shutdown, Operation.creditRequest, Operation.request, 99])
    func beforeTheAnswerToARequest(_ operation: UInt16) throws {
        let rig = try VsockRig()
        let program = try rig.program("CONNECT 52\n")
        let request = try rig.guest.next()
        try rig.guest.send(GuestPacket(operation, 52, request.sourcePort, operation == Operation.data ? [1] : []))
        #expect(try rig.guest.next().operation == Operation.reset)
        try rig.wait { program.isAtEnd && rig.device.connectionCount == 0 }
        #expect(program.received.isEmpty)
        try rig.expectWorks()
    }

    @Test func dataWithTheRequest() throws {
        let rig = try VsockRig()
        let listener = try rig.listener(9)
        // Both are in the queue before the device has answered.
        var queue = [GuestPacket(Operation.request, 70, 9), GuestPacket(Operation.data, 70, 9, [1])]
        while !queue.isEmpty { try rig.guest.send(queue.removeFirst()) }
        #expect(try rig.guest.next().operation == Operation.reset)
        let program = try listener.accept()
        try rig.wait { program.isAtEnd && rig.device.connectionCount == 0 }
        #expect(program.received.isEmpty && rig.guest.settled().isEmpty)
    }

    @Test func dataAfterTheEnd() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        var end = GuestPacket(Operation.shutdown, 52, port)
        end.flags = 2
        try rig.guest.send(end)
        // An end stays one, whatever is said of it later.
        end.flags = 0
        try rig.guest.send(end)
        try rig.guest.send(GuestPacket(Operation.data, 52, port, [1]))
        #expect(try rig.guest.next().operation == Operation.reset)
        try rig.wait { program.isAtEnd && rig.device.connectionCount == 0 }
        #expect(program.received.isEmpty)
    }

    @Test func dataAfterAReset() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        try rig.guest.send(GuestPacket(Operation.reset, 52, port))
        for operation in [Operation.data, Operation.shutdown, Operation.response] {
            try rig.guest.send(GuestPacket(operation, 52, port, operation == Operation.data ? [1] : []))
            #expect(try rig.guest.next().operation == Operation.reset)
        }
        try rig.guest.send(GuestPacket(Operation.reset, 52, port))
        #expect(rig.guest.settled().isEmpty && program.isAtEnd)
    }

    // MARK: Credit

    @Test func moreThanItsCreditWhileNobodyReads() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        let piece = [UInt8](repeating: 5, count: 60_000)
        var answers: [GuestPacket] = []
        var sent = 0
        while !answers.contains(where: { $0.operation == Operation.reset }) {
            try rig.guest.send(GuestPacket(Operation.data, 52, port, piece))
            sent += 1
            answers += rig.guest.settled()
            try #require(sent < 20)
        }
        #expect(program.isAtEnd)
        // No more than the socket and the promised buffer hold was taken.
        #expect(program.received.count <= 512 << 10 && program.received.allSatisfy { $0 == 5 })
        try rig.wait { rig.device.connectionCount == 0 }
        #expect(rig.guest.packetsHeld == 0)
        try rig.expectWorks()
    }

    @Test func aGuestThatNeverHasRoom() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost(bufferSize: 0)
        let written = program.write([UInt8](repeating: 1, count: 100_000))
        #expect(written == 100_000)
        #expect(try rig.guest.next().operation == Operation.creditRequest)
        for _ in 0..<50 {
            var update = GuestPacket(Operation.creditUpdate, 52, port)
            (update.bufferSize, update.forwarded) = (0, 77)
            try rig.guest.send(update)
        }
        let answers = rig.guest.settled()
        #expect(answers.count <= 50 && answers.allSatisfy { $0.operation == Operation.creditRequest })
        try rig.expectWorks()
    }

    // MARK: Floods

    @Test func requestsWithoutEnd() throws {
        let rig = try VsockRig { $0.connections = 64 }
        let listener = try rig.listener(9)
        var accepted: [HostProgram] = []
        for port in 0..<2000 as Range<UInt32> {
            try rig.guest.send(GuestPacket(Operation.request, port, 9))
            if let program = try? listener.accept() { accepted.append(program) }
            rig.guest.collect()
        }
        #expect(rig.device.connectionCount == 64)
        for program in accepted { program.close() }
        try rig.guest.restart()
        try rig.wait { rig.device.connectionCount == 0 }
        try rig.expectWorks()
    }

    @Test func aFloodForAGuestThatTakesNothing() throws {
        let rig = try VsockRig(buffers: 1)
        for port in 0..<20_000 as Range<UInt32> {
            try rig.guest.send(GuestPacket(port % 2 == 0 ? Operation.request : Operation.data, port, 9))
        }
        rig.guest.driver.settle()
        #expect(rig.device.connectionCount == 0 && rig.guest.packetsHeld == 0)
        // What is owed to it does not grow with what it sends.
        var answers = 0
        while true {
            let some = rig.guest.settled().count
            answers += some
            if some == 0 { break }
        }
        #expect((1...300).contains(answers))
        try rig.expectWorks()
    }

    @Test func aFloodOfEmptyPackets() throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        for _ in 0..<20_000 { try rig.guest.send(GuestPacket(Operation.data, 52, port)) }
        #expect(rig.guest.settled().isEmpty && program.collect().isEmpty)
        try rig.expectWorks()
    }

    @Test func aFloodOfCreditRequests() throws {
        let rig = try VsockRig(buffers: 4)
        let (program, port) = try rig.connectFromHost()
        for _ in 0..<5000 { try rig.guest.send(GuestPacket(Operation.creditRequest, 52, port)) }
        // One answer may serve for many, and none is piled up.
        let answers = rig.guest.settled()
        #expect(answers.count <= 64 && answers.allSatisfy { $0.operation == Operation.creditUpdate })
        #expect(!program.isAtEnd)
        try rig.expectWorks()
    }

    @Test func connectionsOpenedAndClosedWithoutEnd() throws {
        let rig = try VsockRig()
        let listener = try rig.listener(9)
        var programs: [HostProgram] = []
        for round in 0..<1000 as Range<UInt32> {
            let program = try rig.connectFromGuest(round % 3, to: listener, 9)
            if round % 2 == 0 { program.close() } else { programs.append(program) }
            try rig.guest.send(GuestPacket(Operation.reset, round % 3, 9))
            _ = rig.guest.settled()
        }
        try rig.wait { rig.device.connectionCount == 0 }
        // No socket of the device is left open.
        let open = programs.count { !$0.isAtEnd }
        #expect(open == 0)
    }
}
