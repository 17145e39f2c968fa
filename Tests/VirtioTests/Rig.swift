import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A device under attack, and another one on the same reactor that must not notice.
///
/// Guest memory has two regions that touch, a hole, and a region above 4 GiB.
struct Rig {
    static let regionSize: UInt64 = 64 << 10
    static let border = regionSize
    static let hole = 2 * regionSize
    static let high: UInt64 = 1 << 32
    static let end = high + regionSize

    let reactor: Reactor
    let memory: GuestMemory
    let device: EchoDevice
    let driver: VirtioDriver
    private let bystander: VirtioDriver
    private let bystanderQueue: DriverQueue

    init(queueSizes: [UInt16] = [8], features: Features = .splitRing, refused: Features = []) throws {
        reactor = try Reactor(name: "test")
        memory = try GuestMemory(
            ranges: [
                (GuestAddress(0), Self.regionSize), (GuestAddress(Self.border), Self.regionSize),
                (GuestAddress(Self.high), Self.regionSize),
            ], mapping: try MappedRegion(anonymous: Int(3 * Self.regionSize)))
        device = EchoDevice(features: features, queueSizes: queueSizes, refused: refused)
        driver = try VirtioDriver(device, memory: memory, reactor: reactor)
        bystander = try VirtioDriver(
            EchoDevice(id: "bystander"), memory: try GuestMemory(size: 64 << 10), reactor: reactor)
        bystanderQueue = try bystander.start()[0]
    }

    /// The other device must still do its work.
    func expectBystanderWorks(_ location: SourceLocation = #_sourceLocation) throws {
        let reply = try bystander.exchange(on: bystanderQueue, readable: [[1, 2, 3]], writable: [3])
        #expect(reply.bytes == [1, 2, 3], sourceLocation: location)
    }

    /// The device must have stopped, said so, and work again after a reset.
    func expectStopped(_ location: SourceLocation = #_sourceLocation) throws {
        try driver.wait { driver.status.contains(.deviceNeedsReset) }
        #expect(driver.takeInterrupts().causes.contains(.configurationChange), sourceLocation: location)
        try expectBystanderWorks(location)
        try expectWorksAfterReset(location)
    }

    /// A reset, and a driver that behaves, must bring the device back.
    func expectWorksAfterReset(_ location: SourceLocation = #_sourceLocation) throws {
        device.holdsRequests = false
        driver.write(.status, 0)
        #expect(driver.status == [], sourceLocation: location)
        driver.nextFree = Self.high
        let queue = try driver.start()[0]
        let reply = try driver.exchange(on: queue, readable: [[4, 5, 6]], writable: [3])
        #expect(reply.bytes == [4, 5, 6], sourceLocation: location)
        try expectBystanderWorks(location)
    }

    /// Everything that changed since `before` must lie in one of `allowed`.
    func expectOnlyChanged(
        since before: [UInt8], in allowed: [(GuestAddress, Int)], _ location: SourceLocation = #_sourceLocation
    ) {
        var after = memory.host.bytes
        for (address, count) in allowed {
            guard let start = hostOffset(address) else { continue }
            for index in start..<min(start + count, after.count) { after[index] = before[index] }
        }
        #expect(after == before, sourceLocation: location)
    }

    private func hostOffset(_ address: GuestAddress) -> Int? {
        for region in memory.regions where address >= region.start && address < region.end {
            return Int(region.fileOffset + (address.rawValue - region.start.rawValue))
        }
        return nil
    }
}
