import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// Plays a guest with one stream, as Linux does: 256 buffers of 4 KiB for what comes, packets of up to 64 KiB for what
/// goes, and an update of its credit whenever a quarter of its window has been read. Allocates nothing as it goes.
final class StreamingGuest {
    private enum Operation {
        static let response: UInt16 = 2
        static let shutdown: UInt16 = 4
        static let data: UInt16 = 5
        static let creditUpdate: UInt16 = 6
    }

    static let cid: UInt32 = 3
    static let port: UInt32 = 52
    private static let window: UInt32 = 256 << 10
    private static let header = 44
    private static let largestPacket = 64 << 10

    let driver: VirtioDriver
    private let receive: DriverQueue
    private let transmit: DriverQueue
    private let buffers: [HostSlice]
    private let packets: [HostSlice]
    private var freePackets: [Int]
    private var hostPort: UInt32 = 0
    /// What has been read, and of how much the host knows.
    private(set) var received = 0
    private var announced = 0
    /// What has been sent, and how much of it has left the device.
    private(set) var sent = 0
    private var hostWindow = 0
    private var hostForwarded: UInt32 = 0
    private(set) var hasEnded = false
    /// How often the device interrupted.
    private(set) var interrupts: UInt64 = 0

    init(_ device: VirtioDevice, reactor: Reactor) throws {
        driver = try VirtioDriver(device, memory: try GuestMemory(size: 8 << 20), reactor: reactor)
        let queues = try driver.start()
        (receive, transmit) = (queues[0], queues[1])
        var buffers: [HostSlice] = []
        for index in 0..<256 {
            let address = try driver.allocate(Self.header + 4096)
            receive.setChain(
                [DriverQueue.Buffer(address, UInt32(Self.header + 4096), isWritable: true)], head: UInt16(index))
            buffers.append(try driver.memory.slice(at: address, count: Self.header + 4096))
            receive.offer(UInt16(index))
        }
        var packets: [HostSlice] = []
        for index in 0..<64 {
            let address = try driver.allocate(Self.header + Self.largestPacket)
            transmit.setChain([DriverQueue.Buffer(address, UInt32(Self.header))], head: UInt16(index))
            packets.append(try driver.memory.slice(at: address, count: Self.header + Self.largestPacket))
        }
        (self.buffers, self.packets, freePackets) = (buffers, packets, Array(packets.indices))
        receive.publish()
        receive.kick()
    }

    /// One turn of the device, and what the guest does about it.
    func turn() {
        driver.reactor.turn(waiting: true)
        interrupts += driver.interrupt.takeRaised()
        while let used = transmit.takeUsed() { freePackets.append(Int(used.head)) }
        var hasCome = false
        while let used = receive.takeUsed() {
            take(buffers[Int(used.head)])
            receive.offer(UInt16(used.head))
            hasCome = true
        }
        guard hasCome else { return }
        receive.askForInterrupt(after: receive.usedIndex)
        receive.publish()
        receive.kickIfWanted()
        if received - announced >= Int(Self.window / 4) { send(Operation.creditUpdate) }
    }

    private func take(_ packet: HostSlice) {
        let operation: UInt16 = packet.load(at: 30) ?? 0
        hostWindow = Int(packet.load(at: 36, as: UInt32.self) ?? 0)
        hostForwarded = packet.load(at: 40) ?? 0
        switch operation {
        case 1:
            hostPort = packet.load(at: 16) ?? 0
            send(Operation.response)
        case Operation.data: received += Int(packet.load(at: 24, as: UInt32.self) ?? 0)
        // The program sends no more; that it takes no more it may tell sooner.
        case Operation.shutdown: hasEnded = (packet.load(at: 32) ?? UInt32(0)) & 2 != 0
        default: break
        }
    }

    var isConnected: Bool { hostPort != 0 }

    /// How many bytes of what was sent have reached the host's socket.
    var forwarded: Int { sent - Int(UInt32(truncatingIfNeeded: sent) &- hostForwarded) }

    /// Sends data as far as there is credit, up to `limit` bytes in all; answers whether it sent any.
    func sendData(upTo limit: Int) {
        while sent < limit {
            let count = min(Self.largestPacket, limit - sent, hostWindow - (sent - forwarded))
            guard count > 0, !freePackets.isEmpty else { return }
            send(Operation.data, length: count)
            sent += count
        }
    }

    private func send(_ operation: UInt16, length: Int = 0) {
        guard let index = freePackets.popLast() else { return }
        announced = received
        let packet = packets[index]
        packet.store(UInt64(Self.cid), at: 0)
        packet.store(UInt64(2), at: 8)
        packet.store(Self.port, at: 16)
        packet.store(hostPort, at: 20)
        packet.store(UInt32(length), at: 24)
        packet.store(UInt16(1), at: 28)
        packet.store(operation, at: 30)
        packet.store(UInt32(0), at: 32)
        packet.store(Self.window, at: 36)
        packet.store(UInt32(truncatingIfNeeded: received), at: 40)
        transmit.descriptors.store(UInt32(Self.header + length), at: 16 * index + 8)
        transmit.submit(UInt16(index))
    }
}
