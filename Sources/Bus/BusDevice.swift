/// What a device asks of the machine in answer to a register write: the device asks, the machine decides.
package enum BusAction: Equatable, Sendable {
    case none
    /// The guest wants to start anew.
    case reset
    /// The guest wants its power cut.
    case powerOff
    /// The guest's kernel has panicked.
    case panicked
    /// The guest's kernel has panicked, and another one is about to write a dump of it.
    case crashLoaded
}

/// A device that owns a range of ports or of memory.
package protocol BusDevice: AnyObject {
    /// Reads `size` (1, 2, 4 or 8) bytes at `offset` from the beginning of the device's range.
    func read(at offset: UInt64, size: Int) -> UInt64

    /// Writes the low `size` bytes of `value` at `offset`.
    func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction
}
