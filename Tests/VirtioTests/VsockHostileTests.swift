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

    // MARK: Buffers

    /// Sends a packet whose bytes lie in pieces of these sizes.
    private func send(_ rig: VsockRig, _ bytes: [UInt8], in sizes: [Int], isWritable: Bool = false) throws {
        let start = try rig.guest.driver.allocate(max(bytes.count, 1))
        try rig.guest.driver.memory.write(bytes, at: start)
        var (chain, offset): ([DriverQueue.Buffer], UInt64) = ([], 0)
        for size in sizes {
            let piece = GuestAddress(start.rawValue + offset)
            chain.append(DriverQueue.Buffer(piece, UInt32(size), isWritable: isWritable))
            offset += UInt64(size)
        }
        #expect(rig.guest.packetsHeld == 0)
        // Beyond the heads that the guest itself uses.
        rig.guest.transmitQueue.setChain(chain, head: 128)
        rig.guest.transmitQueue.submit(128)
        try rig.wait { rig.guest.transmitQueue.usedCount > 0 }
        #expect(rig.guest.transmitQueue.takeUsed() == DriverQueue.Used(head: 128, written: 0))
    }

    @Test(arguments: [
        [44, 30], [74], [1, 72, 1], [Int](repeating: 1, count: 74), [Int](repeating: 2, count: 37),
    ])
    func packetsInPieces(_ sizes: [Int]) throws {
        let rig = try VsockRig()
        let (program, port) = try rig.connectFromHost()
        let data = Array("thirty bytes of no consequence".utf8)
        try send(rig, GuestPacket(Operation.data, 52, port, data).header + data, in: sizes)
        try rig.wait { program.collect() == data }
        try rig.expectWorks()
    }

    @Test(arguments: [[], [1], [43], [20, 23]])
    func packetsWithoutAWholeHeader(_ sizes: [Int]) throws {
        let rig = try VsockRig()
        let header = GuestPacket(Operation.request, 52, 9).header
        if sizes.isEmpty {
            try send(rig, header, in: [44], isWritable: true)
        } else {
            try send(rig, header, in: sizes)
        }
        #expect(rig.guest.settled().isEmpty && rig.device.connectionCount == 0)
        try rig.expectWorks()
    }

    @Test(arguments: [0, 1, 43, 44]) func buffersTooSmallForAPacket(_ size: Int) throws {
        let rig = try VsockRig(buffers: 8, bufferSize: size)
        let program = try rig.program("CONNECT 52\n")
        rig.guest.driver.settle()
        while let used = rig.guest.receiveQueue.takeUsed() { #expect(used.written == 0) }
        #expect(!rig.guest.driver.status.contains(.deviceNeedsReset) && !program.isAtEnd)
    }

    @Test func buffersForAByteEach() throws {
        let rig = try VsockRig(buffers: 8, bufferSize: 45)
        let (program, _) = try rig.connectFromHost()
        program.write(Array("byte by byte".utf8))
        for byte in "byte by byte".utf8 {
            let packet = try rig.guest.next()
            #expect(packet.data == [byte])
        }
    }

    @Test(arguments: [44, 46, 100]) func buffersInPieces(_ pieces: Int) throws {
        let rig = try VsockRig(buffers: 0)
        let program = try rig.program("CONNECT 52\n")
        let size = 200
        let start = try rig.guest.driver.allocate(size)
        var chain = (0..<pieces - 1).map {
            DriverQueue.Buffer(GuestAddress(start.rawValue + UInt64($0)), 1, isWritable: true)
        }
        chain.append(
            DriverQueue.Buffer(
                GuestAddress(start.rawValue + UInt64(pieces - 1)), UInt32(size - pieces + 1), isWritable: true))
        let queue = rig.guest.receiveQueue
        queue.setChain(chain)
        queue.submit(0)
        try rig.guest.driver.wait { queue.usedCount > 0 }
        #expect(queue.takeUsed()?.written == 44)
        let request = try rig.guest.driver.memory.read(count: 44, at: start)
        #expect(request[30] == UInt8(Operation.request))
        let port = request[16..<20].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        try rig.guest.send(GuestPacket(Operation.response, 52, port))
        program.write(Array("data".utf8))
        queue.submit(0)
        try rig.guest.driver.wait { queue.usedCount > 0 }
        // A buffer in very many pieces is not used to its end.
        let written = Int(queue.takeUsed()?.written ?? 0)
        #expect(written == 48)
        let packet = try rig.guest.driver.memory.read(count: written, at: start)
        #expect(Array(packet.dropFirst(44)) == Array("data".utf8))
    }

    // MARK: Chance

    /// Packets as chance makes them, most of them nearly sound, while programs come, write, read and go.
    @Test(arguments: 0..<8 as Range<UInt64>) func whateverComes(_ seed: UInt64) throws {
        let rig = try VsockRig { $0.connections = 16 }
        let listener = try rig.listener(9)
        var random = FixedRandom(state: seed)
        var programs: [HostProgram] = []
        var ports: [UInt32] = [9, 10, 1 << 30]
        for _ in 0..<4000 {
            switch Int.random(in: 0..<16, using: &random) {
            case 0: programs.append(try rig.program("CONNECT \(Int.random(in: 0..<6, using: &random))\n"))
            case 1: if !programs.isEmpty { programs.remove(at: Int.random(in: programs.indices, using: &random)) }
            case 2: programs.randomElement(using: &random)?.write([UInt8](repeating: 3, count: 5000))
            case 3: programs.randomElement(using: &random)?.collect()
            case 4: programs.randomElement(using: &random)?.shutDown(writing: true)
            case 5: if let program = try? listener.accept() { programs.append(program) }
            default:
                let isLikely = Int.random(in: 0..<12, using: &random) != 0
                var packet = GuestPacket(
                    isLikely ? UInt16.random(in: 1...7, using: &random) : UInt16.random(in: 0...9, using: &random),
                    UInt32.random(in: 0..<6, using: &random), ports.randomElement(using: &random) ?? 9)
                packet.flags = UInt32.random(in: 0...3, using: &random)
                packet.forwarded = isLikely ? 0 : UInt32.random(in: 0...UInt32.max, using: &random)
                if packet.operation == Operation.data {
                    packet.data = [UInt8](repeating: 1, count: Int.random(in: 0..<9000, using: &random))
                }
                if !isLikely { packet.length = UInt32.random(in: 0..<20_000, using: &random) }
                if Int.random(in: 0..<40, using: &random) == 0 { packet.type = 2 }
                if Int.random(in: 0..<40, using: &random) == 0 { packet.destinationCID = 1 }
                try rig.guest.send(packet)
            }
            for packet in rig.guest.taken() where packet.operation == Operation.request {
                ports.append(packet.sourcePort)
                if ports.count > 6 { ports.remove(at: 2) }
                try rig.guest.send(GuestPacket(Operation.response, packet.destinationPort, packet.sourcePort))
            }
            if programs.count > 20 { programs.removeFirst() }
        }
        programs = []
        try rig.guest.restart()
        try rig.wait { rig.device.connectionCount == 0 }
        try rig.expectWorks()
    }
}
