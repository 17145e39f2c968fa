import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver that means harm, or is broken, may do to a console: nobody notices, and the console goes on.
@Suite struct ConsoleHostileTests {
    private typealias Event = ConsoleRig.Event

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var readable: [[UInt8]] = []
        var writable: [Int] = []
    }

    private static func message(_ port: UInt32, _ event: UInt16, _ value: UInt16 = 1) -> [UInt8] {
        ConsoleRig.Message(port: port, event: event, value: value).bytes
    }

    /// The device has a console at 0 and a channel at 2, and room for port 1.
    static let controls: [Case] = [
        Case(testDescription: "no bytes, but some to write", writable: [8]),
        Case(testDescription: "1 byte", readable: [[0]]),
        Case(testDescription: "7 bytes", readable: [Array(message(0, 6).dropLast())]),
        Case(testDescription: "8 bytes in 8 buffers", readable: message(0, 6).map { [$0] }),
        Case(testDescription: "8 bytes and 4096 more", readable: [message(0, 6), [UInt8](repeating: 7, count: 4096)]),
        Case(testDescription: "two messages in one", readable: [message(0, 6) + message(2, 6)]),
        Case(testDescription: "room for an answer", readable: [message(0, 6)], writable: [4096]),
        Case(testDescription: "device ready, about a port", readable: [message(0xffff_ffff, 0)]),
        Case(testDescription: "device not ready", readable: [message(0, 0, 0)]),
        Case(testDescription: "device ready, with a strange value", readable: [message(0, 0, 0xffff)]),
        Case(testDescription: "a port that is not there", readable: [message(1, 3)]),
        Case(testDescription: "the first port past the last", readable: [message(3, 3)]),
        Case(testDescription: "port 31", readable: [message(31, 6)]),
        Case(testDescription: "port 2^31", readable: [message(1 << 31, 6)]),
        Case(testDescription: "the largest port", readable: [message(.max, 6)]),
        Case(testDescription: "port not ready", readable: [message(0, 3, 0)]),
        Case(testDescription: "port ready, with a strange value", readable: [message(0, 3, 2)]),
        Case(testDescription: "open, with a strange value", readable: [message(0, 6, 0xffff)]),
        Case(testDescription: "the device's own message: add", readable: [message(0, 1)]),
        Case(testDescription: "the device's own message: remove", readable: [message(0, 2)]),
        Case(testDescription: "the device's own message: console", readable: [message(2, 4)]),
        Case(testDescription: "the device's own message: resize", readable: [message(0, 5)]),
        Case(testDescription: "the device's own message: name", readable: [message(0, 7) + Array("x".utf8)]),
        Case(testDescription: "an event that does not exist", readable: [message(0, 8)]),
        Case(testDescription: "the largest event", readable: [message(0, .max, .max)]),
    ]

    @Test(arguments: controls) func controlMessages(_ hostile: Case) throws {
        let rig = try ConsoleRig(channels: [2])
        try rig.boot()
        for _ in 0..<3 {
            let reply = try rig.driver.exchange(
                on: rig.queues[3], readable: hostile.readable, writable: hostile.writable)
            #expect(reply.written == 0 && reply.bytes.allSatisfy { $0 == 0xee })
        }
        try expectWorks(rig)
    }

    @Test func controlBuffersThatAreTooSmallAreGivenBack() throws {
        let rig = try ConsoleRig(channels: [2])
        try rig.start()
        for size in [1, 7] { try rig.supply(rig.queues[2], 4, size: size) }
        rig.queues[2].setDescriptor(8, address: 0x1000, count: 8)
        rig.queues[2].submit(8)
        try rig.send(ConsoleRig.Message(port: 0, event: Event.deviceReady))
        rig.driver.settle()
        for _ in 0..<9 { #expect(rig.queues[2].takeUsed()?.written == 0) }
        // Nothing was lost with them.
        try rig.supply(rig.queues[2], 8, size: 9)
        rig.driver.settle()
        #expect(rig.queues[2].usedCount == 2)
        for port in [UInt32(0), 2] { try rig.send(ConsoleRig.Message(port: port, event: Event.ready)) }
        rig.driver.settle()
        // A name that does not fit is cut.
        #expect(rig.queues[2].usedCount == 6)
        #expect((0..<6).map { _ in rig.queues[2].takeUsed()?.written } == [8, 8, 8, 9, 8, 9])
    }

    @Test func aFloodOfControlMessagesCostsNoMoreThanTheirTime() throws {
        let rig = try ConsoleRig(channels: [2])
        try rig.start()
        try rig.supply(rig.queues[2], 4)
        var random = RandomBytes(seed: Chance.seed(11))
        let rounds = Chance.cases(64_000) / 32
        let queue = rig.queues[3]
        let address = try rig.driver.allocate(32 * 8)
        for _ in 0..<rounds {
            for head in 0..<32 {
                let bytes = Self.message(
                    UInt32(random.below(4)), UInt16(random.below(9)), UInt16(random.below(3)))
                let place = GuestAddress(address.rawValue + UInt64(8 * head))
                try rig.driver.memory.write(bytes, at: place)
                queue.setDescriptor(head, address: place.rawValue, count: UInt32(random.below(20) == 0 ? 7 : 8))
                queue.offer(UInt16(head))
            }
            queue.publish()
            queue.kickIfWanted()
            try rig.driver.wait { queue.usedCount == 32 }
            while queue.takeUsed() != nil {}
            if random.below(4) == 0 { _ = try rig.takeMessages() }
        }
        Chance.report(32 * rounds, of: "control messages")
        rig.driver.write(.status, 0)
        rig.driver.nextFree = 0x1000
        try rig.boot()
        try expectWorks(rig)
    }

    @Test func buffersInTheWrongDirection() throws {
        let rig = try ConsoleRig(channels: [2])
        try rig.boot()
        let peer = try rig.connect(2)
        // Output that the device should write, and output of nothing.
        for _ in 0..<3 {
            let reply = try rig.driver.exchange(on: rig.outputQueue(2), writable: [4096])
            #expect(reply.written == 0 && reply.bytes.allSatisfy { $0 == 0xee })
        }
        rig.outputQueue(2).setDescriptor(0, address: 0, count: 0)
        rig.outputQueue(2).submit(0)
        try rig.driver.wait { rig.outputQueue(2).takeUsed() != nil }
        // Input that the device should read: given back empty, as soon as there is input.
        let queue = rig.inputQueue(2)
        for head in 16..<UInt16(32) {
            queue.setDescriptor(Int(head), address: 0x1000, count: 64)
            queue.offer(head)
        }
        queue.publish()
        queue.kickIfWanted()
        let toGuest = pattern(16 * 4096 + 5000)
        var unwritten = toGuest
        var input: [UInt8] = []
        try rig.driver.wait {
            unwritten = peer.write(unwritten)
            rig.reactor.turn(waiting: false)
            while let used = queue.takeUsed() {
                if used.head >= 16 {
                    #expect(used.written == 0)
                } else {
                    input += Array(repeating: 0, count: Int(used.written))
                    queue.submit(UInt16(used.head))
                }
            }
            return input.count >= toGuest.count
        }
        #expect(input.count == toGuest.count)
    }

    @Test func queuesOfPortsThatAreNotThere() throws {
        let rig = try ConsoleRig(channels: [2])
        try rig.boot()
        for index in rig.queues.indices { rig.queues[index].kickIfWanted() }
        try rig.supply(rig.inputQueue(1), 8)
        try rig.write(1, "into nothing")
        try expectWorks(rig)
    }

    /// One chain that says the same memory over and over: it is copied in pieces, between which others have their turn.
    @Test(arguments: [0, 2]) func anEndlessChainHoldsNobodyUp(port: Int) throws {
        let rig = try ConsoleRig(channels: [2, 3])
        try rig.boot()
        let drain = try rig.connect(port)
        let queue = rig.outputQueue(port)
        for index in 0..<128 {
            queue.setDescriptor(
                index, address: 0, count: 4 << 20, flags: index < 127 ? DriverQueue.Flag.next : 0,
                next: UInt16(index + 1))
        }
        queue.submit(0)
        let peer = try rig.connect(3)
        for number in 0..<20 {
            try rig.write(3, "[\(number)]")
            drain.read()
        }
        #expect(queue.usedCount == 0)
        try rig.driver.wait { peer.text.hasSuffix("[19]") }
        // It is half a gigabyte; a reset is quicker.
        rig.driver.write(.status, 0)
        #expect(rig.driver.status == [])
    }

    @Test func theConfigurationTakesWhateverIsWritten() throws {
        let rig = try ConsoleRig(channels: [2])
        try rig.boot()
        for offset in UInt64(0)..<16 where offset != 8 {
            rig.driver.writeConfig(UInt8.max, at: offset)
            rig.driver.writeConfig(UInt16.max, at: offset)
            rig.driver.writeConfig(UInt32.max, at: offset)
            rig.driver.writeConfig(UInt64.max, at: offset)
        }
        for _ in 0..<10_000 { rig.driver.writeConfig(UInt32.max, at: 8) }
        #expect(rig.driver.readConfig(UInt32.self, at: 4) == 3)
        #expect(rig.driver.readConfig(UInt32.self, at: 8) == 0)
        try expectWorks(rig)
    }

    /// The console and the channel carry characters, and the device has not stopped.
    private func expectWorks(_ rig: ConsoleRig, _ location: SourceLocation = #_sourceLocation) throws {
        #expect(!rig.driver.status.contains(.deviceNeedsReset), sourceLocation: location)
        for port in [0, 2] {
            try rig.send(ConsoleRig.Message(port: UInt32(port), event: Event.open))
            let peer = try rig.connect(port)
            try rig.write(port, "<out>")
            try rig.driver.wait { peer.text.hasSuffix("<out>") }
            peer.write("in")
            var input: [UInt8] = []
            try rig.driver.wait {
                input += try rig.takeInput(port)
                return input == Array("in".utf8)
            }
        }
    }
}
