import Backends
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A disk's state as a value: a fresh disk on the same image continues from it.
@Suite struct BlockStateTests {
    private typealias Kind = BlockDisk.Kind

    private func state(_ device: BlockDevice) throws -> BlockDevice.State {
        guard case .block(let state) = device.deviceState else { throw VirtioDriver.Failure.stopped }
        return state
    }

    private func disk(
        like disk: BlockDisk, readOnly: Bool = false, _ change: (inout BlockDevice.Options) -> Void = { _ in }
    ) throws -> BlockDevice {
        var options = BlockDevice.Options()
        change(&options)
        return BlockDevice(
            id: "fresh", image: try .open(path: disk.file.path, readOnly: readOnly, direct: false), options: options)
    }

    @Test func aFreshDiskContinues() throws {
        let disk = try BlockDisk { $0.serial = "serial number of disk 0" }
        let pattern = [UInt8](repeating: 0x5a, count: 1024)
        #expect(try disk.request(Kind.write, 3, pattern).status == 0)
        let fresh = try self.disk(like: disk)
        try disk.driver.pause()
        let state = try state(disk.device)
        try fresh.restore(.block(state))
        #expect(try self.state(fresh) == state)
        try disk.driver.exchangeDevice(fresh)
        #expect(try disk.request(Kind.read, 3, count: 1024).bytes == pattern)
        #expect(try disk.request(Kind.getID, count: 20).bytes == Array("serial number of disk 0".utf8.prefix(20)))
        #expect(disk.driver.readConfig(UInt64.self, at: 0) == 2048)
    }

    @Test func anotherCapacityIsAnnounced() throws {
        let disk = try BlockDisk()
        var state = try state(disk.device)
        let same = try self.disk(like: disk)
        try same.restore(.block(state))
        state.capacity = 100
        let other = try self.disk(like: disk)
        try other.restore(.block(state))
        try disk.driver.exchangeDevice(same)
        let generation = disk.driver.read(.configGeneration)
        try disk.driver.exchangeDevice(other)
        // The exchange itself is one change.
        #expect(disk.driver.read(.configGeneration) == generation + 2)
        #expect(disk.driver.readConfig(UInt64.self, at: 0) == 2048)
        #expect(try disk.request(Kind.read, 2047, count: 512).status == 0)
    }

    @Test func theLimitContinues() throws {
        let disk = try BlockDisk { $0.iopsLimit = 1 }
        #expect(try disk.request(Kind.read, count: 512).status == 0)
        let state = try state(disk.device)
        #expect(try #require(state.limiter).due > 0)
        let limited = try self.disk(like: disk) { $0.iopsLimit = 1 }
        try limited.restore(.block(state))
        #expect(try #require(self.state(limited).limiter).due > 0)
        // The limit is the host's, so the restored disk may have none.
        let free = try self.disk(like: disk)
        try free.restore(.block(state))
        #expect(try self.state(free).limiter == nil)
    }

    @Test func aDiskThatDoesNotFitIsRefused() throws {
        let disk = try BlockDisk { $0.serial = "abc" }
        let saved = try state(disk.device)
        for (change, options) in [
            ({ $0.blockSize = 4096 }, { _ in }), ({ $0.serial = [UInt8](repeating: 65, count: 21) }, { _ in }),
            ({ _ in }, { $0.serial = "other" }),
        ] as [((inout BlockDevice.State) -> Void, (inout BlockDevice.Options) -> Void)] {
            var state = saved
            change(&state)
            let fresh = try self.disk(like: disk, options)
            let before = try self.state(fresh)
            #expect(throws: StateError.self) { try fresh.restore(.block(state)) }
            #expect(try self.state(fresh) == before)
        }
        let readOnly = try self.disk(like: disk, readOnly: true)
        #expect(throws: StateError.self) { try readOnly.restore(.block(saved)) }
        #expect(throws: StateError.self) { try readOnly.restore(.none) }
    }
}
