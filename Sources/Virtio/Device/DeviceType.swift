/// Which kind of device it is (virtio 1.2 section 5).
package struct DeviceType: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let network = DeviceType(rawValue: 1)
    package static let block = DeviceType(rawValue: 2)
    package static let console = DeviceType(rawValue: 3)
    package static let entropy = DeviceType(rawValue: 4)
    package static let balloon = DeviceType(rawValue: 5)
    package static let socket = DeviceType(rawValue: 19)
    package static let fileSystem = DeviceType(rawValue: 26)
}
