/// The registers of a virtio-mmio device, by their offset (virtio 1.2 section 4.2.2).
package enum MMIORegister: UInt64, CaseIterable, Sendable {
    case magicValue = 0x000
    case version = 0x004
    case deviceID = 0x008
    case vendorID = 0x00c
    case deviceFeatures = 0x010
    case deviceFeaturesSel = 0x014
    case driverFeatures = 0x020
    case driverFeaturesSel = 0x024
    case queueSel = 0x030
    case queueNumMax = 0x034
    case queueNum = 0x038
    case queueReady = 0x044
    case queueNotify = 0x050
    case interruptStatus = 0x060
    case interruptACK = 0x064
    case status = 0x070
    case queueDescLow = 0x080
    case queueDescHigh = 0x084
    case queueDriverLow = 0x090
    case queueDriverHigh = 0x094
    case queueDeviceLow = 0x0a0
    case queueDeviceHigh = 0x0a4
    case shmSel = 0x0ac
    case shmLenLow = 0x0b0
    case shmLenHigh = 0x0b4
    case shmBaseLow = 0x0b8
    case shmBaseHigh = 0x0bc
    case configGeneration = 0x0fc

    /// Where the device's own configuration begins.
    package static let config: UInt64 = 0x100
}
