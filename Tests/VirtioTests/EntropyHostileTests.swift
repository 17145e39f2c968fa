import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver that means harm may ask of a source of entropy: case 31 of the list of hostile inputs.
@Suite struct EntropyHostileTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var readable: [[UInt8]] = []
        var writable: [Int] = []
        /// What the device says it wrote.
        var written: UInt32
    }

    static let cases = [
        Case(testDescription: "only what the device reads", readable: [[1, 2, 3]], written: 0),
        Case(testDescription: "one buffer without bytes", writable: [0], written: 0),
        Case(testDescription: "many buffers without bytes", writable: [Int](repeating: 0, count: 100), written: 0),
        Case(testDescription: "a byte among buffers without any", writable: [0, 0, 1, 0], written: 1),
        Case(testDescription: "one byte", writable: [1], written: 1),
        Case(testDescription: "readable bytes first", readable: [[9], [8]], writable: [16], written: 16),
        Case(testDescription: "256 buffers", writable: [Int](repeating: 3, count: 256), written: 768),
        Case(testDescription: "a huge buffer", writable: [3 << 20], written: 65536),
        Case(testDescription: "huge and split", writable: [Int](repeating: 8192, count: 200), written: 65536),
    ]

    @Test(arguments: cases) func endsWithAnAnswer(_ hostile: Case) throws {
        let rig = try EntropyRig("/dev/urandom")
        let reply = try rig.driver.exchange(on: rig.queue, readable: hostile.readable, writable: hostile.writable)
        #expect(reply.written == hostile.written)
        #expect(reply.bytes.dropFirst(Int(hostile.written)).allSatisfy { $0 == 0xee })
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
        #expect(try rig.driver.exchange(on: rig.queue, writable: [32]).written == 32)
    }

    /// A buffer all over the guest's memory, many times over, 3 GiB and more in one chain.
    @Test func aChainOfGigabytesGivesAPart() throws {
        let rig = try EntropyRig("/dev/urandom")
        let size: UInt32 = 4 << 20
        // The end of memory, where no ring lies.
        let address = try rig.driver.allocate(2 << 20)
        rig.queue.setChain((0..<250).map { _ in .init(address, size / 2, isWritable: true) })
        rig.queue.submit(0)
        #expect(try rig.used() == .init(head: 0, written: 65536))
    }

    @Test func manyRequestsAreServedInTheirOrder() throws {
        let rig = try EntropyRig("/dev/urandom")
        let address = try rig.driver.allocate(64)
        for head in 0..<256 as Range<UInt16> {
            rig.queue.setChain([.init(address, 64, isWritable: true)], head: head)
            rig.queue.offer(head)
        }
        rig.queue.publish()
        rig.queue.kick()
        try rig.driver.wait { rig.queue.usedCount == 256 }
        for head in 0..<256 as Range<UInt32> { #expect(rig.queue.takeUsed() == .init(head: head, written: 64)) }
    }

    /// Resets, at each point of a request's way, on a source with bytes and on one without.
    @Test(arguments: ["/dev/urandom", "/dev/null", nil], [0, 1, 2, 3, 4])
    func aResetFindsNothingUnderWay(path: String?, turns: Int) throws {
        let fifo = try FIFO()
        let rig = try EntropyRig(path ?? fifo.path, limit: .init(bytes: 64, milliseconds: 10))
        for _ in 0..<10 {
            let buffer = try rig.offer(64)
            for _ in 0..<turns { rig.driver.reactor.turn(waiting: false) }
            rig.driver.write(.status, 0)
            try rig.driver.wait { rig.driver.read(.status) == 0 }
            #expect(rig.device.isIdle)
            buffer.fill(0x11)
            rig.driver.settle()
            #expect(buffer.bytes.allSatisfy { $0 == 0x11 })
            rig.driver.nextFree = 0x1000
            rig.queue = try rig.driver.start()[0]
        }
        if path == nil {
            let writer = try fifo.writer()
            try writer.write([5])
            #expect(try rig.driver.exchange(on: rig.queue, writable: [4]).written == 1)
        } else if path == "/dev/urandom" {
            #expect(try rig.driver.exchange(on: rig.queue, writable: [4]).written == 4)
        }
        _ = try rig.offer(64)
        for _ in 0..<turns { rig.driver.reactor.turn(waiting: false) }
        try rig.driver.retire()
        #expect(rig.device.operationsInFlight == 0)
    }

    @Test func aBufferOutsideMemoryStopsTheDeviceUntilAReset() throws {
        let rig = try EntropyRig("/dev/urandom")
        rig.queue.setDescriptor(0, address: 1 << 40, count: 64, flags: DriverQueue.Flag.write)
        rig.queue.submit(0)
        try rig.driver.wait { rig.driver.status.contains(.deviceNeedsReset) }
        try rig.restart()
        #expect(try rig.driver.exchange(on: rig.queue, writable: [8]).written == 8)
    }
}
