import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A device that notes how much each chain holds and fills what it may write.
final class MeasuringDevice: VirtioDevice {
    private(set) var chains: [(head: UInt16, readable: Int, writable: Int)] = []

    init(size: UInt16) {
        super.init(id: "measure", type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: [size])
    }

    override func process(_ queue: Virtqueue) {
        while let chain = queue.next() {
            chains.append((chain.head, chain.readable.byteCount, chain.writable.byteCount))
            while let piece = chain.writable.takePiece() { piece.fill(0x77) }
            queue.complete(chain.head, written: .max)
        }
    }

    override func reset() { chains = [] }
}

/// A ring whose descriptors are written anew for each trial, without the cost of a new device.
final class RingTrial {
    static let memorySize = 4096

    let device: MeasuringDevice
    let driver: VirtioDriver
    let size: UInt16
    var queue: DriverQueue
    let features: Features
    let indirect: HostSlice

    init(size: UInt16, features: Features) throws {
        Log.setLevel(.error)
        self.size = size
        self.features = features
        device = MeasuringDevice(size: size)
        driver = try VirtioDriver(
            device, memory: try GuestMemory(size: Self.memorySize),
            reactor: try Reactor(name: "test"), base: 0)
        queue = try driver.start(features)[0]
        indirect = try driver.memory.slice(at: GuestAddress(0x400), count: 64)
    }

    /// Offers `head` and compares what becomes of it with the model.
    func run(head: UInt16, _ table: [ChainModel.Entry], _ inner: [ChainModel.Entry] = []) throws {
        for (index, entry) in table.enumerated() {
            queue.setDescriptor(
                index, address: entry.address, count: entry.length, flags: entry.flags, next: entry.next)
        }
        for (index, entry) in inner.enumerated() {
            queue.setDescriptor(
                index, address: entry.address, count: entry.length, flags: entry.flags, next: entry.next,
                in: indirect)
        }
        let model = ChainModel(
            head: head, table: table, memory: driver.memory,
            allowsIndirect: features.contains(.ringIndirectDescriptors))
        let seen = device.chains.count
        queue.offer(head)
        queue.publish()
        let before = driver.memory.host.bytes
        queue.kick()
        var turns = 0
        while queue.usedCount == 0, !driver.status.contains(.deviceNeedsReset), turns < 100 {
            driver.reactor.turn(waiting: false)
            turns += 1
        }
        #expect(turns < 100, "neither served nor stopped")
        if model.buffers != nil {
            let writable = model.byteCount(isWritable: true)
            #expect(device.chains.count == seen + 1)
            #expect(device.chains.last?.readable == model.byteCount(isWritable: false))
            #expect(device.chains.last?.writable == writable)
            #expect(queue.takeUsed() == DriverQueue.Used(head: UInt32(head), written: UInt32(writable)))
            expectOnlyChanged(since: before, model)
        } else {
            #expect(device.chains.count == seen)
            expectOnlyChanged(since: before, model)
            try restart()
        }
    }

    /// Nothing may change but the used ring and the chain's writable buffers.
    private func expectOnlyChanged(since before: [UInt8], _ model: ChainModel) {
        var after = driver.memory.host.bytes
        let used = Int(queue.layout.usedRing.rawValue)
        for index in used..<(used + queue.used.count) { after[index] = before[index] }
        for buffer in model.buffers ?? [] where buffer.isWritable {
            let start = Int(buffer.address)
            for index in start..<start + Int(buffer.length) { after[index] = before[index] }
        }
        if after != before {
            let place = zip(after, before).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
            Issue.record("memory outside the chain has changed, first at \(place)")
        }
    }

    /// Brings the device back after it has stopped.
    func restart() throws {
        driver.nextFree = 0
        queue = try driver.start(features)[0]
    }
}
