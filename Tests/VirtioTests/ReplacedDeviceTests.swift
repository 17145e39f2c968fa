import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite("Another device behind the same registers")
struct ReplacedDeviceTests {
    private static let sectors: UInt64 = 2048

    /// A driver that has started on a disk without a medium.
    private func startEmpty(_ disk: BlockDisk) throws -> (driver: VirtioDriver, queue: DriverQueue) {
        let driver = try VirtioDriver(
            NullBlockDevice(id: "empty"), memory: try GuestMemory(size: 4 << 20), reactor: disk.driver.reactor)
        return (driver, try driver.start()[0])
    }

    private func status(
        _ driver: VirtioDriver, _ queue: DriverQueue, _ kind: UInt32, _ data: [UInt8] = [], count: Int = 0
    ) throws -> UInt8? {
        let writable = (count > 0 ? [count] : []) + [1]
        return try driver.exchange(
            on: queue, readable: [BlockDisk.header(kind)] + (data.isEmpty ? [] : [data]), writable: writable
        ).bytes.last
    }

    @Test("A disk comes, works, goes and comes again, and the driver only sees its size change")
    func comesAndGoes() throws {
        let disk = try BlockDisk(isStarted: false)
        let (driver, queue) = try startEmpty(disk)
        #expect(driver.readConfig(UInt64.self, at: 0) == 0)
        #expect(try status(driver, queue, BlockDisk.Kind.read, count: 512) == 1)
        _ = driver.takeInterrupts()

        let generation = driver.read(.configGeneration)
        try driver.exchangeDevice(disk.device)
        #expect(driver.takeInterrupts().causes.contains(.configurationChange))
        #expect(driver.read(.configGeneration) != generation)
        #expect(driver.readConfig(UInt64.self, at: 0) == Self.sectors)
        #expect(try status(driver, queue, BlockDisk.Kind.write, [UInt8](repeating: 7, count: 512)) == 0)
        #expect(try status(driver, queue, BlockDisk.Kind.read, count: 512) == 0)

        try driver.exchangeDevice(NullBlockDevice(id: "empty", minimumQueues: driver.virtio.queuesInUse))
        #expect(driver.readConfig(UInt64.self, at: 0) == 0)
        #expect(try status(driver, queue, BlockDisk.Kind.read, count: 512) == 1)

        let other = try BlockDisk(size: 4 << 20, isStarted: false)
        let again = BlockDevice(id: "other", image: other.image)
        try driver.exchangeDevice(again)
        #expect(driver.readConfig(UInt64.self, at: 0) == 4 * Self.sectors)
        #expect(try status(driver, queue, BlockDisk.Kind.read, count: 512) == 0)
    }

    @Test("A vCPU reads and acknowledges the causes without asking the device, whichever that is")
    func interruptStatus() throws {
        let disk = try BlockDisk(isStarted: false)
        let (driver, queue) = try startEmpty(disk)
        #expect(try status(driver, queue, BlockDisk.Kind.read, count: 512) == 1)
        let used = InterruptCause.usedBuffer.rawValue
        #expect(driver.interruptStatus.value == used)

        try driver.exchangeDevice(disk.device)
        let change = InterruptCause.configurationChange.rawValue
        #expect(driver.interruptStatus.value == used | change)
        let published = driver.transport.published
        #expect(published.load(at: MMIORegister.interruptStatus.rawValue, size: 4) == used | change)
        #expect(published.acknowledge(used, at: MMIORegister.interruptACK.rawValue, size: 4))
        #expect(driver.read(.interruptStatus) == change)
        driver.write(.status, 0)
        #expect(driver.interruptStatus.value == 0)
    }

    @Test("A driver that resets the device after the exchange gets all that the new one offers")
    func resetAfterwards() throws {
        let disk = try BlockDisk(isStarted: false) { $0.discards = true }
        let (driver, _) = try startEmpty(disk)
        #expect(!driver.offeredFeatures.contains(.blockDiscard))
        try driver.exchangeDevice(disk.device)
        let queue = try driver.start()[0]
        #expect(driver.offeredFeatures.contains(.blockDiscard))
        #expect(try status(driver, queue, BlockDisk.Kind.read, count: 512) == 0)
    }

    @Test("What the driver has negotiated and the new device lacks is refused, request by request")
    func lostFeatures() throws {
        let disk = try BlockDisk { $0.discards = true }
        let readOnly = try BlockDisk(readOnly: true, isStarted: false)
        #expect(try disk.request(BlockDisk.Kind.discard, 0, BlockDisk.range(0, 8)).status == 0)
        try disk.driver.exchangeDevice(readOnly.device)
        #expect(try disk.request(BlockDisk.Kind.discard, 0, BlockDisk.range(0, 8)).status == 2)
        #expect(try disk.request(BlockDisk.Kind.write, 0, [UInt8](repeating: 1, count: 512)).status == 1)
        #expect(try disk.request(BlockDisk.Kind.read, count: 512).status == 0)
    }

    @Test("A device with fewer or smaller queues than the driver uses does not fit")
    func tooSmall() throws {
        let several = try BlockDisk { $0.queues = 4 }
        #expect(!NullBlockDevice(id: "small").queueLimits.holds(several.driver.virtio.queuesInUse))
        let large = try BlockDisk { $0.queueSize = 1024 }
        let limits = large.driver.virtio.queuesInUse
        #expect(limits == QueueLimits(count: 1, size: 1024))
        #expect(!NullBlockDevice(id: "small").queueLimits.holds(limits))
        #expect(NullBlockDevice(id: "fits", minimumQueues: limits).queueLimits.holds(limits))
    }

    @Test("Requests in flight end on the device that took them, later ones on the new one", arguments: [false, true])
    func drained(onAnotherReactor: Bool) throws {
        let disk = try BlockDisk()
        let other = try BlockDisk(isStarted: false)
        let pattern = [UInt8](repeating: 0xa5, count: 4096)
        let address = try disk.driver.allocate(8192)
        try disk.driver.memory.write(BlockDisk.header(BlockDisk.Kind.write) + pattern, at: address)
        let status = GuestAddress(address.rawValue + 8000)
        disk.queue.setChain([.init(address, 16 + 4096), .init(status, 1, isWritable: true)])
        disk.queue.submit(0)
        try disk.driver.wait { !disk.device.isIdle || disk.queue.usedCount > 0 }
        try disk.driver.exchangeDevice(other.device, on: onAnotherReactor ? try Reactor(name: "other") : nil)
        #expect(disk.queue.takeUsed() != nil)
        #expect(try Array(disk.file.contents().prefix(4096)) == pattern)
        #expect(try disk.request(BlockDisk.Kind.read, count: 4096).bytes == [UInt8](repeating: 0, count: 4096))
    }
}
