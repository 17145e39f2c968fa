import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// Reset, pause and removal, also with requests in flight: case 24 of the list of hostile inputs.
@Suite struct LifeCycleTests {
    /// A rig whose device holds three requests.
    private func busyRig() throws -> (Rig, DriverQueue) {
        let rig = try Rig()
        let queue = try rig.driver.start(.version1)[0]
        rig.device.holdsRequests = true
        for head in 0..<3 as Range<UInt16> {
            queue.setDescriptor(Int(head), address: 0x8000, count: 16, flags: DriverQueue.Flag.write)
            queue.offer(head)
        }
        queue.publish()
        queue.kick()
        try rig.driver.wait { rig.device.held.count == 3 }
        return (rig, queue)
    }

    @Test func case24ResetWithRequestsInFlight() throws {
        let (rig, queue) = try busyRig()
        queue.offer(3)
        queue.publish()
        queue.kick()
        rig.driver.write(.status, 0)
        rig.driver.settle()
        #expect(rig.driver.status == .deviceNeedsReset, "requests are still in flight")
        #expect(rig.device.cancels == 1)
        #expect(rig.device.resets == 0)
        #expect(rig.device.requests == 3, "nothing new is taken")
        _ = rig.driver.takeInterrupts()
        rig.device.releaseHeld()
        try rig.driver.wait { rig.driver.status == [] }
        #expect(rig.device.resets == 1)
        #expect(rig.driver.takeInterrupts().count == 0, "a device that was reset is silent")
        try rig.expectWorksAfterReset()
    }

    /// A driver that does not wait for the reset gets its device when the old requests are done.
    @Test func case24DriverDoesNotWaitForTheReset() throws {
        let (rig, _) = try busyRig()
        rig.driver.write(.status, 0)
        rig.driver.write(.status, 0)
        rig.driver.addStatus(.acknowledge)
        rig.driver.addStatus(.driver)
        rig.driver.chooseFeatures(.version1)
        rig.driver.addStatus(.featuresOK)
        #expect(rig.driver.status.contains(.featuresOK))
        let queue = try rig.driver.makeQueue(0, features: .version1)
        rig.driver.addStatus(.driverOK)
        queue.submit(0)
        rig.driver.settle()
        #expect(rig.device.requests == 3)
        rig.device.holdsRequests = false
        rig.device.releaseHeld()
        try rig.driver.wait { queue.usedCount == 1 }
        #expect(rig.driver.status == [.acknowledge, .driver, .featuresOK, .driverOK])
        #expect(rig.device.resets == 1)
    }

    @Test func case24PauseWaitsForRequestsInFlight() throws {
        let (rig, queue) = try busyRig()
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        queue.offer(3)
        queue.publish()
        queue.kick()
        rig.driver.settle()
        #expect(!isPaused)
        rig.device.releaseHeld()
        try rig.driver.wait { isPaused }
        #expect(queue.usedCount == 3)
        #expect(rig.device.requests == 3, "nothing is taken during a pause")
        rig.driver.settle()
        #expect(rig.device.requests == 3)
        rig.device.holdsRequests = false
        rig.driver.virtio.resume()
        try rig.driver.wait { queue.usedCount == 4 }
        try rig.expectWorksAfterReset()
    }

    @Test func pauseOfAnIdleDeviceIsImmediate() throws {
        let rig = try Rig()
        var pauses = 0
        rig.driver.virtio.pause { pauses += 1 }
        #expect(pauses == 1)
        let queue = try rig.driver.start()[0]
        queue.submit(0)
        rig.driver.settle()
        #expect(rig.device.requests == 0, "a device activated during a pause is paused")
        rig.driver.virtio.resume()
        try rig.driver.wait { queue.usedCount == 1 }
        try rig.expectWorksAfterReset()
    }

    @Test func case24PauseAndResetTogether() throws {
        let (rig, _) = try busyRig()
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        rig.driver.write(.status, 0)
        rig.device.releaseHeld()
        try rig.driver.wait { isPaused && rig.driver.status == [] }
        rig.driver.virtio.resume()
        try rig.expectWorksAfterReset()
    }

    @Test func case24RemovalWithRequestsInFlight() throws {
        let (rig, queue) = try busyRig()
        var isGone = false
        rig.driver.virtio.detachDevice { isGone = true }
        queue.kick()
        rig.driver.settle()
        #expect(!isGone)
        rig.device.releaseHeld()
        try rig.driver.wait { isGone }
        #expect(rig.device.resets == 1)
        queue.kick()
        rig.driver.write(.queueNotify, 0)
        rig.driver.settle()
        #expect(rig.device.requests == 3)
        try rig.expectBystanderWorks()
    }

    @Test func removedDevicesLeaveNothingBehind() throws {
        let reactor = try Reactor(name: "test")
        weak var device: EchoDevice?
        weak var transport: VirtioMMIO?
        do {
            let echo = EchoDevice()
            let driver = try VirtioDriver(echo, reactor: reactor)
            device = echo
            transport = driver.transport
            _ = try driver.start()
            try driver.retire()
        }
        reactor.turn(waiting: false)
        #expect(device == nil)
        #expect(transport == nil)
    }

    @Test func aDeviceThatFailsSaysSoOnce() throws {
        let rig = try Rig()
        _ = try rig.driver.start()
        _ = rig.driver.takeInterrupts()
        for _ in 0..<3 { rig.device.context?.fail("test") }
        #expect(rig.driver.status.contains(.deviceNeedsReset))
        let interrupts = rig.driver.takeInterrupts()
        #expect(interrupts.count == 1)
        #expect(interrupts.causes == .configurationChange)
        try rig.expectWorksAfterReset()
    }
}
