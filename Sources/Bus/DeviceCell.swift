package import EventLoop

/// The place of a device behind a range of addresses.
///
/// vCPU threads hold cells and never look inside. Only the thread of the owning reactor reads or empties one, so a
/// detached device is released on its own thread, and an access that found its range too late reads all ones.
package final class DeviceCell: @unchecked Sendable {
    /// The reactor on whose thread the device lives.
    package let owner: ReactorHandle
    /// Tells posted writes whose they are; no other cell of the board ever has it.
    let number: UInt64
    // Only for the owner's thread.
    private(set) var device: (any BusDevice)?

    init(_ device: any BusDevice, owner: ReactorHandle, number: UInt64) {
        self.device = device
        self.owner = owner
        self.number = number
    }

    /// Forgets the device. On the owner's thread only.
    func empty() { device = nil }

    /// Leaves a write of one byte to the first address for the device, without waiting; false if too many wait.
    func post(_ byte: UInt8) -> Bool { owner.post(number << 8 | UInt64(byte)) }

    /// The number of the cell that a posted word is for, and the byte.
    static func posted(_ word: UInt64) -> (number: UInt64, byte: UInt8) {
        (word >> 8, UInt8(truncatingIfNeeded: word))
    }
}
