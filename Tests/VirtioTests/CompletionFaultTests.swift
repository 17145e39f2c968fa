import Backends
import CompletionFaults
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Every operation that a device gives the ring ends badly once, in every way there is: the request fails in good order
/// or the device stops; a reset brings it back, and nothing is left behind.
///
/// Each device is tried in a process of its own, so that its descriptors can be counted.
@Suite struct CompletionFaultTests {
    @Test func disk() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("disk", atLeast: 15) { try useDisk($0, direct: false) }
        }
        CompletionFaults.show(result)
    }

    @Test func diskWithUnalignedDirectRequests() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("direct disk", atLeast: 15) { try useDisk($0, direct: true) }
        }
        CompletionFaults.show(result)
    }

    @Test func limitedDisk() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("limited disk", atLeast: 10, useLimitedDisk)
        }
        CompletionFaults.show(result)
    }

    @Test func entropy() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("entropy", atLeast: 5, useEntropy)
        }
        CompletionFaults.show(result)
    }

    @Test func balloon() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("balloon", atLeast: 8, useBalloon)
        }
        CompletionFaults.show(result)
    }

    @Test func console() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("console", atLeast: 10, useConsole)
        }
        CompletionFaults.show(result)
    }

    @Test func networkCard() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("network card", atLeast: 8, useCard)
        }
        CompletionFaults.show(result)
    }

    @Test func splitNetworkCard() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            var stops = 0
            CompletionFaults.expectSurvival("split network card", atLeast: 5) { try useSplitCard($0, &stops) }
            #expect(stops > 0, "a doorbell that cannot be read stops the card")
        }
        CompletionFaults.show(result)
    }

    @Test func vsock() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("vsock", atLeast: 15, useVsock)
        }
        CompletionFaults.show(result)
    }

    @Test func fileSystem() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("file system", atLeast: 15, useFileSystem)
        }
        CompletionFaults.show(result)
    }

    @Test func fileSystemThatNobodyServes() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("silent file system", atLeast: 5, useSilentFileSystem)
        }
        CompletionFaults.show(result)
    }
}

typealias BadEnd = CompletionFaults.End

/// What must hold of a device in the end: it works, after a reset at most, and goes in peace.
private func expectRecovery(
    _ driver: VirtioDriver, restart: () throws -> Void, works: () throws -> Void, end: () throws -> Void = {}
) throws {
    // A second time, if the one operation that ends badly is among those of the first.
    for attempt in 0..<3 {
        do {
            if attempt > 0 || driver.status.contains(.deviceNeedsReset) { try restart() }
            try works()
            try driver.retire()
            try end()
            #expect(CompletionFaults.isAtRest(driver.reactor), "operations are left in flight")
            return
        } catch {
            if attempt == 2 { throw error }
        }
    }
}

private struct Failed: Error {
    let kind: UInt32
    let status: UInt8?
}

private func useDisk(_ end: BadEnd?, direct: Bool) throws {
    let disk = try BlockDisk(size: 64 << 10, direct: direct, minimumAlignment: direct ? 4096 : 512) {
        $0.discards = true
        $0.zeroDetection = .unmap
    }
    /// The status; nil if the device has stopped, which is brought back.
    func attempt(_ kind: UInt32, _ sector: UInt64, _ data: [UInt8] = [], count: Int = 0) throws -> UInt8? {
        do {
            let reply = try disk.request(kind, sector, data, count: count)
            if kind == BlockDisk.Kind.read, reply.status == 0 { #expect(reply.bytes == content(sector)) }
            if end == nil, reply.status != 0 { throw Failed(kind: kind, status: reply.status) }
            return reply.status
        } catch VirtioDriver.Failure.stopped {
            #expect(end != nil)
            try disk.restart()
            return nil
        }
    }
    var written: [UInt64: UInt8] = [:]
    func content(_ sector: UInt64) -> [UInt8] { [UInt8](repeating: written[sector] ?? 0, count: 512) }
    for (sector, value) in [(3, 0x33), (20, 0x44)] as [(UInt64, UInt8)] {
        if try attempt(BlockDisk.Kind.write, sector, [UInt8](repeating: value, count: 512)) == 0 {
            written[sector] = value
            _ = try attempt(BlockDisk.Kind.read, sector, count: 512)
        }
    }
    _ = try attempt(BlockDisk.Kind.flush, 0)
    _ = try attempt(BlockDisk.Kind.discard, 0, BlockDisk.range(64, 8))
    _ = try attempt(BlockDisk.Kind.writeZeroes, 0, BlockDisk.range(80, 1))
    try expectRecovery(disk.driver, restart: disk.restart) {
        let reply = try disk.request(BlockDisk.Kind.write, 40, [UInt8](repeating: 0x55, count: 512))
        guard reply.status == 0 else { throw Errno.ioError }
        written[40] = 0x55
        for sector in [3, 20, 40] as [UInt64] where written[sector] != nil {
            let reply = try disk.request(BlockDisk.Kind.read, sector, count: 512)
            guard reply.status == 0 else { throw Errno.ioError }
            #expect(reply.bytes == content(sector), "sector \(sector)")
        }
    }
}

/// More requests at once than the limit lets through, so that the last one waits.
private func useLimitedDisk(_ end: BadEnd?) throws {
    let disk = try BlockDisk(size: 64 << 10) { $0.iopsLimit = 100 }
    let (driver, count) = (disk.driver, 6)
    let header = try driver.allocate(16)
    try driver.memory.write(BlockDisk.header(BlockDisk.Kind.read), at: header)
    let data = try driver.allocate(513 * count)
    for request in 0..<UInt16(count) {
        let start = GuestAddress(data.rawValue + 513 * UInt64(request))
        disk.queue.setChain([.init(header, 16), .init(start, 513, isWritable: true)], head: 2 * request)
        disk.queue.offer(2 * request)
    }
    disk.queue.publish()
    disk.queue.kickIfWanted()
    try driver.wait { disk.queue.usedCount == count || driver.status.contains(.deviceNeedsReset) }
    if end == nil { #expect(disk.queue.usedCount == count) }
    while disk.queue.takeUsed() != nil {}
    try expectRecovery(driver, restart: disk.restart) {
        guard try disk.request(BlockDisk.Kind.read, 0, count: 512).status == 0 else { throw Errno.ioError }
    }
}

private func useEntropy(_ end: BadEnd?) throws {
    let rig = try EntropyRig("/dev/urandom", limit: EntropyDevice.Limit(bytes: 32, milliseconds: 5))
    func draw() throws {
        let reply = try rig.driver.exchange(on: rig.queue, writable: [32])
        #expect(reply.written > 0 && reply.written <= 32)
    }
    do {
        for _ in 0..<2 { try draw() }
    } catch VirtioDriver.Failure.stopped where end != nil {}
    try expectRecovery(rig.driver, restart: rig.restart, works: draw)
}

private func useBalloon(_ end: BadEnd?) throws {
    let rig = try BalloonRig()
    rig.fill()
    func work() throws {
        try rig.inflate([300, 301, 700])
        _ = try rig.driver.exchange(on: rig.reporting, writable: [8192])
        try rig.offer(BalloonRig.entries([(0, 1)]), on: rig.statistics)
        try rig.driver.wait { rig.device.lastStatistics != nil || rig.driver.status.contains(.deviceNeedsReset) }
        var isAnswered = false
        rig.device.refreshStatistics { isAnswered = true }
        try rig.driver.wait { rig.statistics.usedCount > 0 || rig.driver.status.contains(.deviceNeedsReset) }
        try rig.offer(BalloonRig.entries([(0, 2)]), on: rig.statistics)
        // If the driver's answer does not come through, what asked is told all the same.
        try rig.driver.wait { isAnswered }
    }
    do {
        try work()
    } catch VirtioDriver.Failure.stopped where end != nil {}
    try expectRecovery(rig.driver, restart: rig.restart) { try rig.inflate([400, 401]) }
}

private func useConsole(_ end: BadEnd?) throws {
    let rig = try ConsoleRig(consoles: [0], channels: [1])
    /// Bytes both ways over a port, until a connection that lives has carried them.
    func talk(_ number: Int) throws {
        for _ in 0..<3 {
            let peer = try rig.connect(number)
            try rig.write(number, "out")
            peer.write("in")
            var input: [UInt8] = []
            try rig.driver.wait(seconds: 5) {
                input += try rig.takeInput(number)
                peer.read()
                // One that seems to have ended its own direction may still read.
                if end?.result == 0, peer.text.hasSuffix("out"), input.isEmpty { return true }
                return peer.sawEnd || input.count >= 2 && peer.text.hasSuffix("out")
                    || rig.driver.status.contains(.deviceNeedsReset)
            }
            if rig.driver.status.contains(.deviceNeedsReset) { throw VirtioDriver.Failure.stopped }
            let isLost = peer.sawEnd
            peer.close()
            try rig.driver.wait(seconds: 5) { try rig.chardev(number).isOpen == false }
            if !isLost { return }
            #expect(end != nil)
        }
        throw Errno.connectionReset
    }
    func boot() throws {
        rig.driver.write(.status, 0)
        try rig.driver.wait(seconds: 5) { rig.driver.status == [] }
        rig.driver.nextFree = 0x1000
        try rig.boot()
    }
    do {
        try boot()
        for number in [0, 1] { try talk(number) }
    } catch  where end != nil {
        // It has been lost.
    }
    try expectRecovery(rig.driver, restart: boot) {
        for number in [0, 1] { try talk(number) }
    } end: {
        for number in [0, 1] { try rig.chardev(number).close() }
    }
}

/// Has a card send more than its wire holds, so that it waits for the wire.
private func flood(_ rig: NetworkRig) throws {
    let mark = rig.driver.nextFree
    defer { rig.driver.nextFree = mark }
    let before = rig.device.sent.packets
    try rig.offerFrames(0..<256)
    rig.driver.settle()
    #expect(rig.device.sent.packets < before + 256, "the wire holds everything")
    var arrived = 0
    try rig.driver.wait {
        while rig.hostReceives() != nil { arrived += 1 }
        return rig.sending.usedCount == 256 && arrived == 256 || rig.driver.status.contains(.deviceNeedsReset)
    }
    if rig.driver.status.contains(.deviceNeedsReset) { throw VirtioDriver.Failure.stopped }
    while rig.sending.takeUsed() != nil {}
}

private func useCard(_ end: BadEnd?) throws {
    let rig = try NetworkRig()
    func works() throws {
        try rig.offer([2000])
        // The card looks out for a frame before there is one.
        rig.driver.settle()
        #expect(rig.hostSends(NetworkRig.frame(100)))
        try rig.driver.wait { rig.receiving.usedCount > 0 || rig.driver.status.contains(.deviceNeedsReset) }
        if rig.driver.status.contains(.deviceNeedsReset) { throw VirtioDriver.Failure.stopped }
        #expect(try rig.guestReceives().dropFirst(12) == NetworkRig.frame(100)[...])
        try rig.guestSends([NetworkRig.header, NetworkRig.frame(60)])
        #expect(rig.hostReceives()?.dropFirst(12) == NetworkRig.frame(60)[...])
    }
    func restart() throws {
        rig.driver.write(.status, 0)
        try rig.driver.wait { rig.driver.status == [] }
        rig.driver.nextFree = 0x1000
        try rig.start(rig.features)
        while rig.hostReceives() != nil {}
    }
    do {
        for _ in 0..<2 { try works() }
        try flood(rig)
    } catch VirtioDriver.Failure.stopped where end != nil {}
    try expectRecovery(rig.driver, restart: restart, works: works)
}

/// The operations are those of the reactor that sends.
private func useSplitCard(_ end: BadEnd?, _ stops: inout Int) throws {
    let sender = try Reactor(name: "sender")
    // The first ring that is used is the one whose operations end badly.
    sender.turn(waiting: false)
    let rig = try NetworkRig(sender: sender.handle)
    rig.driver.companion = sender
    func restart() throws {
        rig.driver.write(.status, 0)
        try rig.driver.wait { rig.driver.status == [] }
        rig.driver.nextFree = 0x1000
        try rig.start(rig.features)
        while rig.hostReceives() != nil {}
    }
    do {
        try flood(rig)
    } catch VirtioDriver.Failure.stopped where end != nil {
        stops += 1
    }
    try expectRecovery(rig.driver, restart: restart) {
        try flood(rig)
    } end: {
        #expect(CompletionFaults.isAtRest(sender), "operations are left in flight")
    }
}

private func useVsock(_ end: BadEnd?) throws {
    typealias Operation = VsockRig.Operation
    let rig = try VsockRig(buffers: 32)
    let driver = rig.guest.driver
    var port: UInt32 = 50
    var inbox: [GuestPacket] = []
    /// Waits until something has happened; an error if the device has stopped, or either side has lost the other.
    func wait(for program: HostProgram? = nil, until condition: () -> Bool) throws {
        var lost: GuestPacket?
        // Whoever is told that there is nothing yet, though there is, waits in vain.
        try driver.wait(seconds: end?.result == -Errno.again.rawValue ? 1 : 3) {
            inbox += rig.guest.taken().filter { $0.operation < Operation.creditUpdate }
            lost = inbox.first { $0.operation == Operation.reset || $0.operation == Operation.shutdown }
            return condition() || lost != nil || program?.isAtEnd == true
                || driver.status.contains(.deviceNeedsReset)
        }
        if condition() { return }
        // As every driver confirms the end of a connection.
        if let lost { try rig.guest.send(GuestPacket(Operation.reset, lost.destinationPort, lost.sourcePort)) }
        inbox = []
        throw driver.status.contains(.deviceNeedsReset) ? VirtioDriver.Failure.stopped : Errno.connectionReset
    }
    func next(_ operation: UInt16, for program: HostProgram? = nil) throws -> GuestPacket {
        try wait(for: program) { inbox.contains { $0.operation == operation } }
        guard let index = inbox.firstIndex(where: { $0.operation == operation }) else { throw Errno.connectionReset }
        return inbox.remove(at: index)
    }
    /// Bytes both ways, and the end.
    func exchange(_ program: HostProgram, _ hostPort: UInt32) throws {
        try rig.guest.send(GuestPacket(Operation.data, port, hostPort, [1, 2, 3]))
        try wait(for: program) { program.collect() == [1, 2, 3] }
        program.write([4, 5])
        var data: [UInt8] = []
        while data.count < 2 { data += try next(Operation.data, for: program).data }
        #expect(data == [4, 5])
        try rig.guest.send(GuestPacket(Operation.reset, port, hostPort))
        try wait { program.isAtEnd }
    }
    /// A connection from either side.
    func works() throws {
        port += 1
        let program = try rig.program("CONNECT \(port)\n")
        let hostPort = try next(Operation.request, for: program).sourcePort
        try rig.guest.send(GuestPacket(Operation.response, port, hostPort))
        let answer = "OK \(hostPort)\n"
        try wait(for: program) { program.text == answer }
        program.received = []
        try exchange(program, hostPort)
        let listener = try rig.listener(port)
        try rig.guest.send(GuestPacket(Operation.request, port, port))
        _ = try next(Operation.response)
        try exchange(try listener.accept(), port)
    }
    do {
        try works()
    } catch  where end != nil && (error as? VirtioDriver.Failure != .timedOut || end?.result == -Errno.again.rawValue) {
        // One that is told that there is nothing yet, and there is, waits for the next event.
    }
    try expectRecovery(driver, restart: rig.guest.restart) {
        _ = rig.guest.settled()
        inbox = []
        try works()
    }
}

private func useFileSystem(_ end: BadEnd?) throws {
    let rig = try FileSystemRig(FakeBackEnd())
    func start() throws {
        rig.driver.write(.status, 0)
        try rig.driver.wait { rig.driver.status == [] }
        rig.driver.nextFree = 0x1000
        _ = try rig.start()
    }
    try start()
    try expectRecovery(rig.driver, restart: start) {
        // The back end goes, and is found again.
        rig.backEnd.hangUp()
        _ = try rig.messages(upTo: FileSystemRig.Request.setRingEnable, count: 2)
    }
}

/// The back end never answers, and is given up time after time.
private func useSilentFileSystem(_ end: BadEnd?) throws {
    let rig = try FileSystemRig(FakeBackEnd(), patience: 20_000_000)
    rig.backEnd.behave { _ in .none }
    _ = try rig.driver.start()
    try rig.driver.wait { rig.backEnd.connections > 1 }
    try rig.driver.retire()
    #expect(CompletionFaults.isAtRest(rig.driver.reactor), "operations are left in flight")
}
