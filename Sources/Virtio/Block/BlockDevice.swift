package import Backends
import EventLoop
package import Host

/// A block device (virtio 1.2 section 5.2): takes requests from its queues and has the image carry them out.
///
/// Each request has a slot from arrival to end, and the slot's number is the tag of its operations. A request allocates
/// nothing. All values of `aio=` are this one implementation: the ring never blocks the reactor, as `native` and
/// `io_uring` promise, and finishes cached transfers at once, as `off` does. `direct` alone decides about the host's
/// page cache. A write is on stable storage after the next flush; without the flush feature, when it ends.
package final class BlockDevice: VirtioDevice {
    /// The user's choices.
    package struct Options: Sendable {
        /// The answer to GET_ID; its first 20 bytes. Empty for none, or for the one of a restored state.
        package var serial = ""
        /// 1 to 32.
        package var queues = 1
        /// A power of two, 4 to 1024.
        package var queueSize: UInt16 = 256
        /// Whether the guest may discard.
        package var discards = false
        package var zeroDetection = ZeroDetection.off
        /// The most requests a second on average; 0 for no limit.
        package var iopsLimit: UInt32 = 0
        /// Called with requests that failed on the host, at most once a second.
        package var onFailure: (@Sendable (Failure) -> Void)?

        package init() {}
    }

    /// A request that failed on the host.
    package struct Failure: Equatable, Sendable {
        package let isRead: Bool
        package let error: Errno
    }

    /// A request in flight.
    private struct Request: BitwiseCopyable {
        var type = BlockRequestType.read
        var queue: Int32 = 0
        var head: UInt16 = 0
        /// The current range and the number of ranges, of a discard or write zeroes request.
        var range: UInt8 = 0
        var ranges: UInt8 = 0
        var bytes: UInt32 = 0
        var sector: UInt64 = 0
        var status: HostSlice?
        /// The next free slot, of a free one.
        var nextFree: Int32 = 0
    }

    private let image: DiskImage
    private let isReadOnly: Bool
    private let options: Options
    private let table: FixedTable<Request>
    /// The ranges of the request in slot `n`, from `n * BlockRange.mostSegments`; empty without such requests.
    private let ranges: FixedTable<BlockRange>
    private var firstFree: Int32 = 0
    private var busy = 0
    private var context: DeviceContext?
    private var requests: DiskRequests?
    private var isDurable = false
    private var capacity: UInt64
    /// Whether the restored driver knows another capacity.
    private var hasNewCapacity = false
    private var serial: [UInt8]
    private var limiter: RateLimiter?
    private var isTimerSet = false
    private var isWaitingForSlot = false
    private var results = BlockStatistics()
    private var logLimit = LogLimit()
    /// The earliest time of the next call of `onFailure`, in nanoseconds.
    private var nextNotice: UInt64 = 0

    private static let mostSlots = 512
    private static let mostSerialBytes = 20
    private static let timerTag = UInt32.max

    /// - Parameters:
    ///   - id: the disk's name in the log.
    ///   - image: used by this device alone, unless it is read-only.
    package init(id: String, image: DiskImage, options: Options = Options()) {
        self.image = image
        self.options = options
        isReadOnly = image.isReadOnly
        let queues = min(max(options.queues, 1), 32)
        let slots = min(queues * Int(options.queueSize), Self.mostSlots)
        table = FixedTable(repeating: Request(), count: slots)
        capacity = image.size / sectorSize
        serial = Array(options.serial.utf8.prefix(Self.mostSerialBytes))
        limiter = RateLimiter(rate: options.iopsLimit)
        let features = BlockConfig.features(image, options)
        let hasRanges = !features.isDisjoint(with: [.blockDiscard, .blockWriteZeroes])
        ranges = FixedTable(repeating: BlockRange(), count: hasRanges ? slots * BlockRange.mostSegments : 0)
        super.init(
            id: id, type: .block, features: features,
            queueSizes: [UInt16](repeating: options.queueSize, count: queues),
            config: BlockConfig.space(image, options, features))
        for slot in 0..<slots { table[slot].nextFree = slot + 1 < slots ? Int32(slot + 1) : -1 }
        if image.size % sectorSize != 0 {
            Log.warn(id, "the last \(image.size % sectorSize) bytes of '\(image.path)' fill no sector and stay unused")
        }
    }

    /// The finished requests since the device was made.
    package var statistics: BlockStatistics { results }

    override package var counters: [DeviceCounter] { results.counters }

    /// Sets the most requests a second on average; 0 for no limit. It applies to requests that wait, too.
    package func limit(iops: UInt32) {
        limiter = RateLimiter(rate: iops)
        if isTimerSet { context?.reactor.cancel(tag: Self.timerTag, of: self) }
        resumeQueues()
    }

    /// Reads the image's new size and announces it to the driver.
    package func imageResized() throws(ImageError) {
        try image.refreshSize()
        capacity = image.size / sectorSize
        config.set(capacity, at: BlockConfig.capacity)
        context?.configChanged()
    }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        isDurable = !context.features.contains(.blockFlush)
        if requests == nil {
            requests = DiskRequests(
                image, on: context.reactor, slots: table.count, segments: Int(options.queueSize),
                zeroDetection: options.zeroDetection == .unmap && !options.discards ? .keep : options.zeroDetection)
        }
        if hasNewCapacity { context.configChanged() }
        hasNewCapacity = false
    }

    override package var isIdle: Bool { busy == 0 }

    override package func cancelRequests() {
        if let requests, let (slot, step) = requests.stop() { follow(slot, step, requests) }
        if isTimerSet { context?.reactor.cancel(tag: Self.timerTag, of: self) }
    }

    override package func reset() {
        requests?.restart()
        isWaitingForSlot = false
        context = nil
    }

    override package func retired() { requests?.unregister() }

    override package var deviceState: DeviceState {
        .block(
            State(
                capacity: capacity, blockSize: UInt32(clamping: image.limits.logicalBlockSize), isReadOnly: isReadOnly,
                serial: serial, limiter: limiter?.state(at: Clock.monotonic)))
    }

    /// Takes over a saved state. The capacity stays the image's; if it differs, `activate` tells the driver.
    override package func restore(_ state: DeviceState) throws(StateError) {
        guard case .block(let state) = state else { throw .otherType }
        guard state.isReadOnly || !isReadOnly else {
            throw StateError("'\(image.path)' is read-only, and the guest could write to the disk; open it for writing")
        }
        let blockSize = UInt32(clamping: image.limits.logicalBlockSize)
        guard state.blockSize == blockSize else {
            throw StateError(
                "'\(image.path)' has blocks of \(blockSize) bytes, and the guest knows blocks of \(state.blockSize)")
        }
        guard state.serial.count <= Self.mostSerialBytes else {
            throw StateError("a serial number of \(state.serial.count) bytes is too long")
        }
        guard serial.isEmpty || serial == state.serial else {
            throw StateError(
                "serial=\(options.serial) differs from the saved '\(String(decoding: state.serial, as: UTF8.self))'; "
                    + "give the saved one or none")
        }
        serial = state.serial
        hasNewCapacity = state.capacity != capacity
        if let saved = state.limiter { limiter?.restore(saved, at: Clock.monotonic) }
    }

    // MARK: Requests

    override package func process(_ queue: Virtqueue) {
        guard let context, let requests else { return }
        while mayTake(context), let chain = queue.next() {
            limiter?.spend()
            take(chain, queue, context, requests)
        }
    }

    /// Whether the device can take another request now; if not, the queue is processed again when it can.
    private func mayTake(_ context: DeviceContext) -> Bool {
        guard firstFree >= 0 else {
            isWaitingForSlot = true
            return false
        }
        guard limiter != nil else { return true }
        guard !isTimerSet else { return false }
        guard let ready = limiter?.wait(at: Clock.monotonic) else { return true }
        isTimerSet = context.reactor.submit(.timeout(at: ready), for: self, tag: Self.timerTag)
        return false
    }

    private func take(
        _ chain: DescriptorChain, _ queue: Virtqueue, _ context: DeviceContext, _ requests: DiskRequests
    ) {
        guard let status = chain.writable.takeLastByte() else {
            logLimit.write(.warn, id, "a request has no byte for its status")
            queue.complete(chain.head, written: 0)
            return
        }
        let slot = Int(firstFree)
        firstFree = table[slot].nextFree
        busy += 1
        table[slot].queue = Int32(truncatingIfNeeded: queue.index)
        table[slot].head = chain.head
        table[slot].status = status
        table[slot].bytes = 0
        table[slot].ranges = 0
        guard let type = chain.readable.take(UInt32.self), chain.readable.take(UInt32.self) != nil,
            let sector = chain.readable.take(UInt64.self)
        else { return end(slot, .ioError) }
        table[slot].type = BlockRequestType(rawValue: type)
        table[slot].sector = sector
        switch table[slot].type {
        case .read: transfer(slot, .read, chain.writable, requests)
        case .write: transfer(slot, .write, chain.readable, requests)
        case .flush: follow(slot, requests.begin(slot, .flush, at: 0, count: 0, segments: 0), requests)
        case .getID: answerID(slot, chain.writable)
        case .discard where context.features.contains(.blockDiscard),
            .writeZeroes where context.features.contains(.blockWriteZeroes):
            takeRanges(slot, chain.readable, requests)
        default: end(slot, .unsupported)
        }
    }

    private func transfer(_ slot: Int, _ kind: DiskRequestKind, _ memory: SliceList, _ requests: DiskRequests) {
        let count = UInt64(memory.byteCount)
        let sector = table[slot].sector
        guard count % sectorSize == 0, contains(sector, count / sectorSize), kind == .read || !isReadOnly
        else { return end(slot, .ioError) }
        guard count > 0 else { return end(slot, .ok) }
        for index in 0..<memory.count {
            guard let piece = memory[index], requests.setSegment(index, of: slot, piece) else {
                return end(slot, .ioError)
            }
        }
        table[slot].bytes = UInt32(truncatingIfNeeded: count)
        let step = requests.begin(
            slot, kind, at: sector &* sectorSize, count: count, segments: memory.count, isDurable: isDurable)
        follow(slot, step, requests)
    }

    /// Whether `count` sectors from `sector` on are on the disk.
    private func contains(_ sector: UInt64, _ count: UInt64) -> Bool {
        sector <= capacity && count <= capacity &- sector
    }

    private func answerID(_ slot: Int, _ memory: SliceList) {
        var left = min(Self.mostSerialBytes, memory.byteCount)
        table[slot].bytes = UInt32(left)
        var serial = serial.makeIterator()
        while left > 0, memory.put(serial.next() ?? 0) { left -= 1 }
        end(slot, .ok)
    }

    // MARK: Discarding and zeroing

    /// Copies and checks all ranges before the first one takes effect.
    private func takeRanges(_ slot: Int, _ memory: SliceList, _ requests: DiskRequests) {
        guard !isReadOnly, memory.byteCount > 0, memory.byteCount % BlockRange.size == 0,
            memory.byteCount / BlockRange.size <= BlockRange.mostSegments
        else { return end(slot, .ioError) }
        let known = table[slot].type == .writeZeroes ? BlockRange.unmap : 0
        let first = slot * BlockRange.mostSegments
        var count = 0
        var verdict = BlockStatus.ok
        while let sector = memory.take(UInt64.self), let sectors = memory.take(UInt32.self),
            let flags = memory.take(UInt32.self)
        {
            if flags & ~known != 0 { return end(slot, .unsupported) }
            if sectors > BlockRange.mostSectors || !contains(sector, UInt64(sectors)) { verdict = .ioError }
            ranges[first + count] = BlockRange(sector: sector, sectors: sectors, flags: flags)
            count += 1
        }
        guard verdict == .ok else { return end(slot, verdict) }
        table[slot].range = 0
        table[slot].ranges = UInt8(truncatingIfNeeded: count)
        follow(slot, beginRange(slot, requests), requests)
    }

    private func beginRange(_ slot: Int, _ requests: DiskRequests) -> DiskStep {
        let range = ranges[slot * BlockRange.mostSegments + Int(table[slot].range)]
        let kind: DiskRequestKind =
            table[slot].type == .discard
            ? .discard : range.flags & BlockRange.unmap != 0 && options.discards ? .unmapZeroes : .writeZeroes
        table[slot].sector = range.sector
        return requests.begin(
            slot, kind, at: range.sector &* sectorSize, count: UInt64(range.sectors) &* sectorSize, segments: 0,
            isDurable: isDurable)
    }

    // MARK: Progress

    override package func ioCompleted(tag: UInt32, result: Int32) {
        if tag == Self.timerTag {
            isTimerSet = false
            resumeQueues()
        } else if let requests {
            let slot = Int(tag)
            follow(slot, requests.advance(slot, result: result), requests)
        }
    }

    /// Carries out a step of a request, and those of the requests that its end lets continue.
    private func follow(_ slot: Int, _ step: DiskStep, _ requests: DiskRequests) {
        var (slot, step) = (slot, step)
        var mayResume = false
        while true {
            switch step {
            case .submit(let operation):
                context?.reactor.submit(operation, for: self, tag: UInt32(truncatingIfNeeded: slot))
            case .wait: break
            case .done(nil) where table[slot].range &+ 1 < table[slot].ranges:
                mayResume = true
                table[slot].range &+= 1
                step = beginRange(slot, requests)
                continue
            case .done(let error):
                mayResume = true
                if let error { report(slot, error) }
                end(slot, error == nil ? .ok : .ioError, isHostFailure: error != nil)
            }
            guard mayResume, let next = requests.resume() else { return }
            (slot, step) = next
        }
    }

    /// Writes the status, gives the request back and frees its slot.
    private func end(_ slot: Int, _ status: BlockStatus, isHostFailure: Bool = false) {
        let request = table[slot]
        request.status?.store(status.rawValue, at: 0)
        let isFromDevice = request.type == .read || request.type == .getID
        let data = isFromDevice && status == .ok ? request.bytes : 0
        context?.queue(Int(request.queue))?.complete(request.head, written: data &+ 1)
        if isHostFailure {
            results.addFailure(request.type)
        } else {
            results.add(request.type, bytes: request.bytes, status)
        }
        table[slot].status = nil
        table[slot].nextFree = firstFree
        firstFree = Int32(truncatingIfNeeded: slot)
        busy -= 1
        if isWaitingForSlot {
            isWaitingForSlot = false
            resumeQueues()
        }
    }

    private func resumeQueues() {
        guard let context else { return }
        for index in queueSizes.indices { if let queue = context.queue(index) { context.resume(queue) } }
    }

    private func report(_ slot: Int, _ error: Errno) {
        let request = table[slot]
        // A discard fails on a file system that does not support it, and drivers expect that.
        guard error != .canceled, !(request.type == .discard && error.meansNotSupported) else { return }
        logLimit.write(
            .error, id, "\(request.type.name) at sector \(request.sector) of '\(image.path)' failed: \(error)")
        let now = Clock.monotonic
        guard let onFailure = options.onFailure, now >= nextNotice else { return }
        nextNotice = now &+ 1_000_000_000
        onFailure(Failure(isRead: request.type == .read, error: error))
    }
}
