import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Buffers of every shape, and packets as chance makes them.
@Suite struct VsockBufferTests {
    typealias Operation = GuestPacket.Operation

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
        var random = FixedRandom(state: Chance.seed(seed))
        var programs: [HostProgram] = []
        var ports: [UInt32] = [9, 10, 1 << 30]
        let count = Chance.cases(32_000) / 8
        for _ in 0..<count {
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
        Chance.report(count, of: "vsock packets")
        programs = []
        try rig.guest.restart()
        try rig.wait { rig.device.connectionCount == 0 }
        try rig.expectWorks()
    }
}
