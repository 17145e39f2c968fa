/// The device status field, by which the driver says how far it has come (virtio 1.2 section 2.1).
package struct DeviceStatus: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let acknowledge = DeviceStatus(rawValue: 1)
    package static let driver = DeviceStatus(rawValue: 2)
    package static let driverOK = DeviceStatus(rawValue: 4)
    package static let featuresOK = DeviceStatus(rawValue: 8)
    package static let deviceNeedsReset = DeviceStatus(rawValue: 64)
    package static let failed = DeviceStatus(rawValue: 128)

    /// What a driver can set.
    static let settable: DeviceStatus = [.acknowledge, .driver, .featuresOK, .driverOK, .failed]
}
