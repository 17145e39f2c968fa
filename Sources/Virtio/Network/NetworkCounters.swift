/// The counters of a network device in one direction.
package struct NetworkCounters: Equatable, Sendable {
    /// Delivered frames.
    package internal(set) var packets: UInt64 = 0
    /// Bytes of delivered frames, without the virtio header.
    package internal(set) var bytes: UInt64 = 0
    /// Frames that a link that is down or the driver's filter dropped.
    package internal(set) var drops: UInt64 = 0
    /// Frames that failed: the host refused them, or the driver's buffer was too small.
    package internal(set) var errors: UInt64 = 0

    package init() {}

    /// All counters, by Linux's names after `rx` or `tx`.
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
