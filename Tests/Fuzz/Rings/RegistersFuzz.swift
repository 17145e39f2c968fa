import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// Registers of a virtio-mmio device in any order, while requests are in flight, paused, reset, or served by another
/// device; in the end a driver that behaves must get its work done.
final class RegistersFuzz: FuzzSubject {
    private static let queueSizes: [UInt16] = [8, 4, 1]

    private let memory: AttackedMemory
    private var device = ProbeDevice(queueSizes: queueSizes)
    private let driver: VirtioDriver
    private var isPaused = false

    init() throws {
        memory = try AttackedMemory(low: 64 << 10, next: 4096, high: 4096)
        driver = try VirtioDriver(device, memory: memory.guest, reactor: try Reactor(name: "fuzz"))
    }

    func fuzz(_ input: inout FuzzInput) throws {
        memory.host.fill(0)
        try beginAnew()
        device.holdsRequests = false
        if input.oneIn(2) { _ = try? driver.start(queueSize: nil) }
        var steps = 0
        while !input.isEmpty, steps < 300 {
            steps += 1
            try step(&input)
            try device.takeViolation()
        }
        driver.virtio.resume()
        isPaused = false
        try beginAnew()
        device.holdsRequests = false
        // Whatever it was, the device still works.
        let queue = try driver.start()[0]
        let reply = try driver.exchange(on: queue, readable: [[1, 2, 3]], writable: [3])
        try expect(reply.bytes == [0x77, 0x77, 0x77] && reply.written == 3, "no work after a reset")
        try device.takeViolation()
        try memory.checkFence()
    }

    /// Resets the device and waits until that is done.
    private func beginAnew() throws {
        driver.write(.status, 0)
        device.release()
        for _ in 0..<4 where driver.status != [] { driver.reactor.turn(waiting: false) }
        try expect(driver.status == [], "a reset does not end")
        driver.nextFree = 0x1000
        try device.takeViolation()
    }

    private func step(_ input: inout FuzzInput) throws {
        switch input.below(16) {
        case 0...4:
            let register = MMIORegister.allCases[input.below(MMIORegister.allCases.count)]
            driver.write(register, Self.value(register, &input))
        case 5:
            driver.addStatus(input.pick([.acknowledge, .driver, .featuresOK, .driverOK]))
        case 6:
            let offset = UInt64(input.below(0x220))
            _ = driver.transport.write(at: offset, size: input.pick([4, 1, 2, 8]), value: input.integer())
        case 7:
            let offset = input.oneIn(8) ? input.integer() : UInt64(input.below(0x220))
            _ = driver.transport.read(at: offset, size: input.pick([4, 1, 2, 8]))
        case 8:
            // Queues and features as they should be: one step of a good driver.
            driver.chooseFeatures(input.pick([[.version1, .splitRing], .version1, .splitRing]))
        case 9:
            let index = input.below(Self.queueSizes.count)
            if let layout = try? driver.layOut(size: Self.queueSizes[index]) { driver.setUp(index, layout) }
        case 10: for _ in 0...input.below(3) { driver.reactor.turn(waiting: false) }
        case 11: device.holdsRequests.toggle()
        case 12: device.release(isReversed: input.oneIn(2))
        case 13: try pauseOrResume(&input)
        case 14: write(&input)
        default: try readBack()
        }
        if driver.nextFree > 0x8000 { driver.nextFree = 0x1000 }
    }

    private static func value(_ register: MMIORegister, _ input: inout FuzzInput) -> UInt32 {
        if input.oneIn(8) { return input.integer() }
        return switch register {
        case .queueSel, .queueNotify: UInt32(input.below(4))
        case .queueNum: input.pick([8, 4, 1, 0, 3, 16])
        case .queueReady, .deviceFeaturesSel, .driverFeaturesSel: UInt32(input.below(3))
        case .queueDescHigh, .queueDriverHigh, .queueDeviceHigh: UInt32(input.below(2))
        case .status: input.pick([0, 1, 3, 11, 15, 0x80, 0x40, 0xff])
        default: UInt32(input.integer(UInt16.self)) & ~0xf
        }
    }

    private func pauseOrResume(_ input: inout FuzzInput) throws {
        isPaused.toggle()
        if isPaused {
            driver.virtio.pause {}
        } else {
            driver.virtio.resume()
        }
        // Another device takes over, as at a hot plug.
        guard isPaused, device.isIdle, input.oneIn(4) else { return }
        driver.virtio.resume()
        isPaused = false
        let next = ProbeDevice(queueSizes: Self.queueSizes)
        if input.oneIn(2) { try driver.exchangeDevice(next) } else { try driver.restore(to: next) }
        device = next
    }

    /// Writes to the first queue's rings, wherever they are.
    private func write(_ input: inout FuzzInput) {
        let bytes = input.take(1 + input.below(24))
        memory.guest.slice(at: 0x1000 + UInt64(input.below(0x800)), count: UInt64(bytes.count))?.copy(from: bytes)
    }

    /// What a driver reads must make sense at any time.
    private func readBack() throws {
        try expect(driver.read(.magicValue) == 0x7472_6976 && driver.read(.version) == 2, "not a device any more")
        let status = driver.status
        if !device.isActive {
            try expect(
                !status.contains(.driverOK) || status.contains(.deviceNeedsReset) || isPaused
                    || status.contains(.failed), "ready without a driver: \(status)")
        }
        try expect(driver.read(.interruptStatus) <= 3, "an interrupt without a cause")
        try expect(driver.read(.queueReady) <= 1, "a queue that is more than ready")
    }
}
