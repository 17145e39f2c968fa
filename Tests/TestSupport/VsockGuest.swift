package import EventLoop
import Host
import Memory
package import Virtio

/// One packet of a vsock device, as a guest sees it.
package struct GuestPacket: Equatable {
    /// `VIRTIO_VSOCK_OP_*`
    package enum Operation {
        package static let request: UInt16 = 1
        package static let response: UInt16 = 2
        package static let reset: UInt16 = 3
        package static let shutdown: UInt16 = 4
        package static let data: UInt16 = 5
        package static let creditUpdate: UInt16 = 6
        package static let creditRequest: UInt16 = 7
    }

    package var sourceCID: UInt64 = 3
    package var destinationCID: UInt64 = 2
    package var sourcePort: UInt32 = 0
    package var destinationPort: UInt32 = 0
    package var type: UInt16 = 1
    package var operation: UInt16
    package var flags: UInt32 = 0
    package var bufferSize: UInt32 = 256 << 10
    package var forwarded: UInt32 = 0
    package var data: [UInt8] = []
    /// What the header says, if not the truth.
    package var length: UInt32?

    package static let headerSize = 44

    /// A packet of the guest from one of its ports to one of the host's.
    package init(_ operation: UInt16, _ guestPort: UInt32, _ hostPort: UInt32, _ data: [UInt8] = []) {
        self.operation = operation
        sourcePort = guestPort
        destinationPort = hostPort
        self.data = data
    }

    init(_ bytes: [UInt8]) {
        func load<T: FixedWidthInteger>(_ offset: Int, as type: T.Type = T.self) -> T {
            (0..<MemoryLayout<T>.size).reduce(T(0)) { $0 | T(truncatingIfNeeded: bytes[offset + $1]) << T(8 * $1) }
        }
        sourceCID = load(0)
        destinationCID = load(8)
        sourcePort = load(16)
        destinationPort = load(20)
        type = load(28)
        operation = load(30)
        flags = load(32)
        bufferSize = load(36)
        forwarded = load(40)
        data = Array(bytes.dropFirst(Self.headerSize))
        length = load(24)
    }

    /// The header's bytes.
    package var header: [UInt8] {
        func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
            (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
        }
        return bytes(sourceCID) + bytes(destinationCID) + bytes(sourcePort) + bytes(destinationPort)
            + bytes(length ?? UInt32(data.count)) + bytes(type) + bytes(operation) + bytes(flags) + bytes(bufferSize)
            + bytes(forwarded)
    }
}

/// Plays a guest's driver to a vsock device, packet by packet.
package final class VsockGuest {
    package let driver: VirtioDriver
    private var receive: DriverQueue
    private var transmit: DriverQueue
    private var event: DriverQueue
    private var buffers: [GuestAddress] = []
    private var packets: [GuestAddress] = []
    private var freePackets: [Int] = []
    private var waiting: [GuestPacket] = []
    private let bufferSize: Int

    private static let packetSlots = 64
    private static let largestPacket = 64 << 10

    /// Starts the device with `count` buffers of `bufferSize` bytes for what it sends.
    package init(
        _ device: VirtioDevice, reactor: Reactor, buffers count: Int = 64, bufferSize: Int = 44 + 4096
    ) throws {
        self.bufferSize = bufferSize
        driver = try VirtioDriver(device, memory: try GuestMemory(size: 16 << 20), reactor: reactor)
        let queues = try driver.start()
        (receive, transmit, event) = (queues[0], queues[1], queues[2])
        try prepare(count)
    }

    private func prepare(_ count: Int) throws {
        buffers = try (0..<count).map { _ in try driver.allocate(max(bufferSize, 1)) }
        packets = try (0..<Self.packetSlots).map { _ in
            try driver.allocate(GuestPacket.headerSize + Self.largestPacket)
        }
        freePackets = Array(packets.indices)
        waiting = []
        for index in buffers.indices { offerBuffer(index) }
        receive.publish()
        receive.kick()
    }

    /// Resets the device and starts it again.
    package func restart() throws {
        driver.write(.status, 0)
        try driver.wait { driver.status == [] }
        driver.nextFree = 0x1000
        let queues = try driver.start()
        (receive, transmit, event) = (queues[0], queues[1], queues[2])
        try prepare(buffers.count)
    }

    package var receiveQueue: DriverQueue { receive }
    package var transmitQueue: DriverQueue { transmit }
    package var eventQueue: DriverQueue { event }

    private func offerBuffer(_ index: Int) {
        receive.setChain(
            [DriverQueue.Buffer(buffers[index], UInt32(bufferSize), isWritable: true)], head: UInt16(index))
        receive.offer(UInt16(index))
    }

    /// Sends a packet; waits while the device holds too many.
    package func send(_ packet: GuestPacket) throws {
        try driver.wait {
            while let used = transmit.takeUsed() { freePackets.append(Int(used.head / 2)) }
            return !freePackets.isEmpty
        }
        let index = freePackets.removeFirst()
        let header = packets[index]
        let data = GuestAddress(header.rawValue + UInt64(GuestPacket.headerSize))
        try driver.memory.write(packet.header, at: header)
        try driver.memory.write(packet.data, at: data)
        var chain = [DriverQueue.Buffer(header, UInt32(GuestPacket.headerSize))]
        if !packet.data.isEmpty { chain.append(DriverQueue.Buffer(data, UInt32(packet.data.count))) }
        transmit.setChain(chain, head: UInt16(2 * index))
        transmit.submit(UInt16(2 * index))
    }

    /// How many packets the device holds.
    package var packetsHeld: Int {
        while let used = transmit.takeUsed() { freePackets.append(Int(used.head / 2)) }
        return Self.packetSlots - freePackets.count
    }

    /// Takes over what the device has sent, and gives the buffers back.
    package func collect() {
        var isOffered = false
        while let used = receive.takeUsed() {
            let index = Int(used.head)
            if let bytes = try? driver.memory.read(count: Int(used.written), at: buffers[index]),
                bytes.count >= GuestPacket.headerSize
            {
                waiting.append(GuestPacket(bytes))
            }
            offerBuffer(index)
            isOffered = true
        }
        if isOffered {
            receive.publish()
            receive.kickIfWanted()
        }
    }

    /// The next packet; waits for it.
    package func next() throws -> GuestPacket {
        try driver.wait {
            collect()
            return !waiting.isEmpty
        }
        return waiting.removeFirst()
    }

    /// The next packet that is about more than credit; waits for it.
    package func nextBeyondCredit() throws -> GuestPacket {
        while true {
            let packet = try next()
            if packet.operation < GuestPacket.Operation.creditUpdate { return packet }
        }
    }

    /// The packets that are there, without waiting for any.
    package func taken() -> [GuestPacket] {
        driver.reactor.turn(waiting: false)
        collect()
        defer { waiting = [] }
        return waiting
    }

    /// The packets that have come by now.
    package func settled() -> [GuestPacket] {
        for _ in 0..<4 {
            driver.settle()
            collect()
        }
        defer { waiting = [] }
        return waiting
    }
}
