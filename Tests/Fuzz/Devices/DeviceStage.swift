import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// What a driver asks of a device: bytes for it to read, and room for it to write.
struct DeviceRequest {
    var readable: [UInt8] = []
    var writable = 0
}

/// Guest memory, a device, and a driver that mostly behaves, as an input wants it.
///
/// What the device reads, what it writes, and rings lie in places of their own, so that a write in the wrong place shows.
final class DeviceStage {
    let memory: AttackedMemory
    let device: VirtioDevice
    let driver: VirtioDriver
    private(set) var queues: [StageQueue] = []
    private var isPaused = false
    /// The rings and buffers are still as a driver may write them, so that all promises can be held to.
    private(set) var isHonest = true
    /// What the device reads, as it was written there.
    private let source = MemoryImage(count: sourceSize)
    private let rings = MemoryImage(count: ringSize)
    private var sourceEnd = 0
    private var roomEnd = 0

    private static let ringSize = 64 << 10
    private static let sourceStart = ringSize
    private static let sourceSize = 96 << 10
    private static let roomStart = sourceStart + sourceSize
    private static let roomSize = 96 << 10
    private static let low = roomStart + roomSize

    /// - Parameter reactor: where the device's back ends live; one of its own, if nil.
    init(_ device: VirtioDevice, reactor: Reactor? = nil) throws {
        self.device = device
        memory = try AttackedMemory(low: Self.low, next: 8192, high: 8192)
        driver = try VirtioDriver(device, memory: memory.guest, reactor: try reactor ?? Reactor(name: "fuzz"), base: 0)
    }

    // MARK: Life

    /// Begins with a driver that has chosen some features and queues.
    func begin(_ input: inout FuzzInput) throws {
        isHonest = true
        memory.host.fill(0)
        source.clear()
        let offered = driver.offeredFeatures
        let features =
            input.oneIn(4) ? offered.intersection(Features(rawValue: input.integer())).union(.version1) : offered
        let size: UInt16 = input.pick([64, 16, 4, 1, 128])
        try start(features, size: size)
    }

    private func start(_ features: Features, size: UInt16) throws {
        driver.nextFree = 0
        do {
            try driver.negotiate(features)
        } catch {
            try driver.negotiate(driver.offeredFeatures)
        }
        let chosen =
            device.accepts(features) && features.isSubset(of: device.offeredFeatures)
            ? features : device.offeredFeatures
        queues = try device.queueSizes.enumerated().map { index, largest in
            StageQueue(try driver.makeQueue(index, size: min(size, largest), features: chosen))
        }
        driver.addStatus(.driverOK)
        (sourceEnd, roomEnd) = (0, 0)
    }

    /// Resets the device and waits until it is at rest; from then on memory is the driver's alone.
    func end() throws {
        driver.virtio.resume()
        isPaused = false
        driver.write(.status, 0)
        try driver.wait(seconds: 5) { driver.status == [] }
        try expect(driver.virtio.isAtRest, "a reset has ended with requests under way")
        try checkMemory()
        let room = memory.host.slice(at: Self.roomStart, count: Self.roomSize)
        room?.fill(0x11)
        driver.settle()
        try expect(room?.isFilled(with: 0x11) == true, "memory has changed after a reset")
    }

    /// A driver that behaves sends one request on a queue, and the device must serve it.
    func probe(
        _ index: Int, readable: [[UInt8]] = [], writable: [Int] = []
    ) throws -> VirtioDriver.Reply {
        driver.nextFree = 0
        isHonest = false
        let queue = try driver.start(queueSize: 4)[index]
        let reply = try driver.exchange(on: queue, readable: readable, writable: writable)
        try end()
        return reply
    }

    /// What the device may only read is as it was, and nothing else of this process has been touched.
    private func checkMemory() throws {
        try memory.checkFence()
        guard isHonest else { return }
        let now = memory.host.dropFirst(Self.sourceStart).prefix(Self.sourceSize)
        try expect(source.matches(now), "what the device may only read has changed")
        try expect(memory.host.dropFirst(Self.low).isZero, "memory that no buffer names has changed")
    }

    // MARK: Steps

    /// Does what any driver can do; `compose` makes a request for a queue, `event` is what else can happen.
    func run(
        _ input: inout FuzzInput, compose: (Int, inout FuzzInput) -> DeviceRequest,
        event: (inout FuzzInput) throws -> Void
    ) throws {
        var steps = 0
        while !input.isEmpty, steps < 120 {
            steps += 1
            switch input.below(16) {
            case 0...5:
                let queue = input.below(queues.count)
                try offer(compose(queue, &input), on: queue, &input)
                if !input.oneIn(4) { kick(queue) }
            case 6: kick(input.below(queues.count))
            case 7, 8: try turn(1 + input.below(6))
            case 9: touchRegisters(&input)
            case 10 where input.oneIn(4): try pauseOrResume()
            case 11 where input.oneIn(4): try restart(&input)
            case 12 where input.oneIn(8): scribble(&input)
            case 13: try collect(input.below(queues.count))
            default: try event(&input)
            }
        }
        try turn(4)
        for index in queues.indices { try collect(index) }
    }

    /// Turns the reactor, and sees that the device writes nothing into descriptors and available rings.
    func turn(_ count: Int) throws {
        rings.note(memory.host.prefix(Self.ringSize))
        for _ in 0..<count { driver.reactor.turn(waiting: false) }
        guard isHonest else { return }
        for part in queues.flatMap(\.driverParts) {
            let offset = Int(part.address - memory.host.address)
            try expect(rings.matches(part, at: offset), "the device has written where only drivers write")
        }
    }

    func kick(_ queue: Int) { driver.write(.queueNotify, UInt32(queue)) }

    private func pauseOrResume() throws {
        isPaused.toggle()
        if isPaused { driver.virtio.pause {} } else { driver.virtio.resume() }
    }

    private func restart(_ input: inout FuzzInput) throws {
        try end()
        try begin(&input)
    }

    private func touchRegisters(_ input: inout FuzzInput) {
        let offset = input.oneIn(2) ? 0x100 + UInt64(input.below(64)) : UInt64(input.below(64)) * 4
        let size = input.pick([4, 1, 2, 8])
        guard input.oneIn(2) else {
            _ = driver.transport.read(at: offset, size: size)
            return
        }
        // A reset is a step of its own, which also waits for its end.
        if offset == MMIORegister.status.rawValue { return }
        let value: UInt64 = input.oneIn(4) ? input.integer() : UInt64(input.byte())
        if offset == MMIORegister.queueReady.rawValue { isHonest = false }
        _ = driver.transport.write(at: offset, size: size, value: value)
    }

    /// Writes anything anywhere in the rings.
    private func scribble(_ input: inout FuzzInput) {
        isHonest = false
        let bytes = input.take(1 + input.below(32))
        memory.host.slice(at: input.below(max(1, Int(driver.nextFree))), count: bytes.count)?.copy(from: bytes)
    }

    /// The 32-bit words at `offset` of what the device has written to a queue's requests lately.
    func written(to index: Int, at offset: Int) -> [UInt32] {
        queues[index].lately.compactMap {
            memory.guest.slice(at: $0.rawValue, count: UInt64(offset + 4))?.load(at: offset)
        }
    }

    // MARK: Requests

    /// Lays a request into memory, cut in pieces, and offers it.
    func offer(_ request: DeviceRequest, on index: Int, _ input: inout FuzzInput) throws {
        var buffers = place(request.readable, &input)
        var room = min(request.writable, Self.roomSize)
        while room > 0 {
            let count = input.oneIn(4) ? min(room, 1 + input.below(64)) : room
            buffers.append(DriverQueue.Buffer(takeRoom(count), UInt32(count), isWritable: true))
            room -= count
            if buffers.count > 40 { break }
        }
        if input.oneIn(32) {
            // A wrong buffer, at any address, or a wrong order.
            isHonest = false
            let address: UInt64 = input.oneIn(2) ? input.integer() : UInt64(Self.low) - 8
            buffers.insert(
                DriverQueue.Buffer(
                    GuestAddress(address), input.oneIn(2) ? input.integer() : 16, isWritable: input.oneIn(2)),
                at: input.below(buffers.count + 1))
        }
        let queue = queues[index]
        if queue.free(buffers.count) == nil { try collect(index) }
        guard !buffers.isEmpty else { return }
        let isIndirect = input.oneIn(4) && driver.offeredFeatures.contains(.ringIndirectDescriptors)
        let table = isIndirect ? takeTable(buffers.count) : nil
        let repeats = input.oneIn(64)
        if repeats { isHonest = false }
        queue.offer(buffers, table: table, again: repeats, &input)
    }

    private func place(_ bytes: [UInt8], _ input: inout FuzzInput) -> [DriverQueue.Buffer] {
        var buffers: [DriverQueue.Buffer] = []
        var rest = bytes.prefix(Self.sourceSize)
        while !rest.isEmpty, buffers.count < 40 {
            let count = input.oneIn(4) ? min(rest.count, 1 + input.below(32)) : rest.count
            if sourceEnd + count > Self.sourceSize { sourceEnd = 0 }
            source.note(Array(rest.prefix(count)), at: sourceEnd)
            memory.host.dropFirst(Self.sourceStart + sourceEnd).copy(from: Array(rest.prefix(count)))
            buffers.append(
                DriverQueue.Buffer(GuestAddress(UInt64(Self.sourceStart + sourceEnd)), UInt32(count)))
            sourceEnd += count
            rest = rest.dropFirst(count)
        }
        return buffers
    }

    private func takeRoom(_ count: Int) -> GuestAddress {
        if roomEnd + count > Self.roomSize { roomEnd = 0 }
        defer { roomEnd += count }
        return GuestAddress(UInt64(Self.roomStart + roomEnd))
    }

    /// Room for an indirect table, behind the rings.
    private func takeTable(_ count: Int) -> HostSlice? {
        if driver.nextFree > UInt64(Self.ringSize - 4096) { return nil }
        guard let address = try? driver.allocate(16 * count) else { return nil }
        return memory.guest.slice(at: address.rawValue, count: UInt64(16 * count))
    }

    /// Takes what was used; each request must come back once, with no more written than there was room.
    func collect(_ index: Int) throws {
        let problem = queues[index].collect()
        if isHonest, let problem { throw Violation(description: "queue \(index): \(problem)") }
    }
}
