import Host
import Platform

/// What a driver has made of a device's registers and queues, with the eventfds that both sides signal: all that
/// another device needs to go on behind the same registers, so that the driver notices nothing but a changed
/// configuration, and KVM nothing at all.
package struct DriverState {
    let status: DeviceStatus
    let deviceFeaturesSel: UInt32
    let driverFeaturesSel: UInt32
    let driverFeatures: UInt64
    let queueSel: UInt32
    let queueRegisters: [VirtioMMIO.QueueRegisters]
    let interruptStatus: InterruptStatus
    let configGeneration: UInt32
    let interrupt: InterruptLine
    let doorbells: [QueueWorker.Doorbell]
}

/// How many queues a device has, and how large they may be.
package struct QueueShape: Equatable, Sendable {
    package let count: Int
    package let size: UInt16

    package init(count: Int, size: UInt16) {
        self.count = count
        self.size = size
    }

    /// Whether a device of this shape can serve a driver that has set up queues of the other.
    package func holds(_ other: QueueShape) -> Bool {
        count >= other.count && size >= other.size
    }
}
