import Host

/// Resets that the guest is to get for what is no connection, or none any more.
struct ResetQueue: ~Copyable {
    /// Whom a reset comes from and goes to, as the guest sees it.
    struct Reset: BitwiseCopyable {
        var sourceCID = VsockCID.host
        var ports: VsockPorts
        var type = VsockType.stream
    }

    private static let capacity = 256
    private let table = FixedTable(repeating: Reset(ports: VsockPorts(guest: 0, host: 0)), count: capacity)
    private var first = 0
    private var count = 0

    var isEmpty: Bool { count == 0 }

    /// Adds a reset; false if a guest that takes none has too many to get already.
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

    mutating func removeAll() {
        count = 0
    }
}
