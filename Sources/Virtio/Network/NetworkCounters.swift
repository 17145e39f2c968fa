/// What a network card has moved, for statistics: one of these for each direction.
package struct NetworkCounters: Equatable, Sendable {
    /// Frames that arrived at the other side.
    package internal(set) var packets: UInt64 = 0
    /// Their bytes, without the header that virtio puts before each.
    package internal(set) var bytes: UInt64 = 0
    /// Frames that were left out on purpose: the link was down, or the driver's filters did not want them.
    package internal(set) var drops: UInt64 = 0
    /// Frames that could not be moved: the host refused them, or the driver's buffer was too small.
    package internal(set) var errors: UInt64 = 0

    package init() {}

    /// By the names that Linux gives them, after `rx` or `tx`.
    func counters(_ direction: String) -> [DeviceCounter] {
        [
            DeviceCounter("\(direction)_packets", packets),
            DeviceCounter("\(direction)_bytes", bytes, isBytes: true),
            DeviceCounter("\(direction)_dropped", drops), DeviceCounter("\(direction)_errors", errors),
        ]
    }

    static func += (a: inout NetworkCounters, b: NetworkCounters) {
        a.packets &+= b.packets
        a.bytes &+= b.bytes
        a.drops &+= b.drops
        a.errors &+= b.errors
    }
}
