import Host

/// Resets due to the guest for packets that belong to no connection, or none any more.
struct ResetQueue: ~Copyable {
    /// A reset's source and destination, as the guest sees them.
    struct Reset: BitwiseCopyable {
        var sourceCID = VsockCID.host
        var ports: VsockPorts
        var type = VsockType.stream

        /// The packet.
        func header(guestCID: UInt64) -> VsockHeader {
            VsockHeader(
                sourceCID: sourceCID, destinationCID: guestCID, sourcePort: ports.host, destinationPort: ports.guest,
                type: type, operation: .reset)
        }
    }

    private static let capacity = 256
    private let table = FixedTable(repeating: Reset(ports: VsockPorts(guest: 0, host: 0)), count: capacity)
    private var first = 0
    private var count = 0

    var isEmpty: Bool { count == 0 }

    /// Adds a reset; false if too many wait for a guest that takes none.
    mutating func append(_ reset: Reset) -> Bool {
        guard count < Self.capacity else { return false }
        table[(first + count) % Self.capacity] = reset
        count += 1
        return true
    }

    /// Takes the oldest; nil if there is none.
    mutating func takeFirst() -> Reset? {
        guard count > 0 else { return nil }
        let reset = table[first]
        first = (first + 1) % Self.capacity
        count -= 1
        return reset
    }

    /// Drops all.
    mutating func removeAll() {
        count = 0
    }
}
