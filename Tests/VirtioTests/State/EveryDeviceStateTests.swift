import EventLoop
import TestSupport
import Testing
import Virtio

/// What holds for the state of every kind of device.
@Suite struct EveryDeviceStateTests {
    @Test(arguments: DeviceKind.allCases) func aFreshDeviceTakesOverARunningDriver(kind: DeviceKind) throws {
        let reactor = try Reactor(name: "test")
        let source = try kind.make(id: "source", on: reactor)
        let driver = try VirtioDriver(source.device, reactor: reactor)
        _ = try driver.start()
        driver.settle()
        try driver.pause()
        let state = source.device.deviceState
        let fresh = try kind.make(id: "fresh", on: reactor)
        try fresh.device.restore(state)
        try driver.exchangeDevice(fresh.device)
        driver.settle()
        #expect(fresh.device.deviceState == state)
        #expect(driver.status.isDisjoint(with: .deviceNeedsReset))
        // The source is as new.
        let unused = try kind.make(id: "unused", on: reactor)
        #expect(source.device.deviceState == unused.device.deviceState)
        try driver.retire()
    }

    @Test(arguments: DeviceKind.allCases, DeviceKind.allCases)
    func anotherKindIsRefused(kind: DeviceKind, other: DeviceKind) throws {
        guard kind != other else { return }
        let reactor = try Reactor(name: "test")
        let device = try kind.make(id: "device", on: reactor).device
        let before = device.deviceState
        let foreign = try other.make(id: "other", on: reactor).device.deviceState
        #expect(throws: StateError.self) { try device.restore(foreign) }
        #expect(throws: StateError.self) { try device.restore(.none) }
        #expect(device.deviceState == before)
    }
}
