import Bus
import Glibc
import Host
import Memory
import Synchronization
import TestSupport

/// Plays a guest with one stream, on a thread of its own, and its peer: as Linux does, it rings when the device wants it,
/// asks for an interrupt only when it has nothing to do, and then for one in a while of what it sends. Between two
/// answers there is no more under way than a stream's window.
final class StreamingGuest: @unchecked Sendable {
    private static let window = 512 << 10
    private static let pieceSize = 4096
    private static let ringSize = 256

    private let wire: Wire
    private let interrupt: InterruptLine
    private let receiving: DriverQueue
    private let sending: DriverQueue
    private let buffers: [HostSlice]
    private let mostUnderWay: Int
    private let scratch = IOBuffer(capacity: 128 << 10)
    private var free: [UInt16] = []
    /// How often the device interrupted.
    private(set) var interrupts: UInt64 = 0

    struct Failure: Error {
        let text: String
    }

    init(_ driver: VirtioDriver, _ wire: Wire, size: Int) throws {
        let queues = try driver.start()
        (receiving, sending, interrupt) = (queues[0], queues[1], driver.interrupt)
        self.wire = wire
        mostUnderWay = max(1, min(Self.window / size, Self.ringSize))
        // As large as Linux makes them once it knows the frames.
        let room = size <= 1514 ? 1536 : Self.pieceSize
        var buffers: [HostSlice] = []
        for head in 0..<Self.ringSize {
            let address = try driver.allocate(room)
            receiving.setChain([DriverQueue.Buffer(address, UInt32(room), isWritable: true)], head: UInt16(head))
            receiving.offer(UInt16(head))
            buffers.append(try driver.memory.slice(at: address, count: room))
        }
        self.buffers = buffers
        receiving.publish()
        receiving.kick()
        for head in 0..<mostUnderWay {
            let bytes = Wire.header(size) + Wire.frame(size)
            let address = try driver.allocate(bytes.count)
            try driver.memory.write(bytes, at: address)
            let pieces = stride(from: 0, to: bytes.count, by: Self.pieceSize).map { start in
                DriverQueue.Buffer(
                    GuestAddress(address.rawValue + UInt64(start)), UInt32(min(Self.pieceSize, bytes.count - start)))
            }
            let table = try driver.allocate(16 * pieces.count)
            sending.setChain(pieces, in: try driver.memory.slice(at: table, count: 16 * pieces.count))
            sending.setDescriptor(
                head, address: table.rawValue, count: UInt32(16 * pieces.count), flags: DriverQueue.Flag.indirect)
            free.append(UInt16(head))
        }
    }

    /// Has the peer send that many frames, and takes them.
    func receive(_ count: Int) throws {
        var (sent, received, buffersLeft) = (0, 0, 0)
        while received < count {
            while sent < count, sent - received < mostUnderWay, wire.send() { sent += 1 }
            var hasTaken = false
            while let used = receiving.takeUsed() {
                if buffersLeft == 0 { buffersLeft = Int(buffers[Int(used.head)].load(at: 10, as: UInt16.self) ?? 1) }
                buffersLeft -= 1
                if buffersLeft == 0 { received += 1 }
                receiving.offer(UInt16(used.head))
                hasTaken = true
            }
            if hasTaken {
                receiving.publish()
                receiving.kickIfWanted()
            } else {
                try wait(for: receiving, after: 0)
            }
        }
    }

    /// Sends that many frames.
    func send(_ count: Int) throws {
        var (sent, done) = (0, 0)
        while done < count {
            while sent < count, let head = free.popLast() {
                sending.submit(head)
                sent += 1
            }
            let before = done
            while let used = sending.takeUsed() {
                free.append(UInt16(used.head))
                done += 1
            }
            wire.drain(into: scratch)
            if done == before { try wait(for: sending, after: (sent - done) * 3 / 4) }
        }
    }

    /// Sleeps until the device has used `count` more buffers than the guest has taken, and one.
    private func wait(for queue: DriverQueue, after count: Int) throws {
        queue.askForInterrupt(after: queue.usedIndex &- UInt16(queue.usedCount) &+ UInt16(max(0, count - 1)))
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard queue.usedCount == 0 else { return }
        var files = (
            pollfd(fd: interrupt.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: wire.descriptor, events: Int16(POLLIN), revents: 0)
        )
        let ready = unsafe withUnsafeMutableBytes(of: &files) { bytes in
            unsafe poll(bytes.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, 5000)
        }
        guard ready > 0 else { throw Failure(text: "frames were lost") }
        interrupts += interrupt.takeRaised()
    }
}
