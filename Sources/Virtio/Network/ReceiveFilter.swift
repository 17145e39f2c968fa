import Host

/// Which frames the driver wants (virtio 1.2 section 5.1.6.5.1 to 5.1.6.5.3).
///
/// Until a driver says anything it gets every frame.
final class ReceiveFilter {
    /// `VIRTIO_NET_CTRL_RX_*`.
    struct Modes: OptionSet {
        let rawValue: UInt8

        static let promiscuous = Modes(rawValue: 1)
        static let allMulticast = Modes(rawValue: 2)
        static let allUnicast = Modes(rawValue: 4)
        static let noMulticast = Modes(rawValue: 8)
        static let noUnicast = Modes(rawValue: 16)
        static let noBroadcast = Modes(rawValue: 32)
    }

    /// Addresses that a table holds; who asks for more gets all of that kind.
    static let tableSize = 64

    private var modes: Modes = .promiscuous
    private var address: UInt64
    private let unicast = FixedTable<UInt64>(repeating: 0, count: ReceiveFilter.tableSize)
    private let multicast = FixedTable<UInt64>(repeating: 0, count: ReceiveFilter.tableSize)
    private var unicastCount = 0
    private var multicastCount = 0
    /// One bit for each VLAN.
    private let vlans = FixedTable<UInt64>(repeating: 0, count: Ethernet.vlanCount / 64)
    private var checksVLANs = false
    /// Whether every frame is wanted.
    private(set) var isOpen = true

    private static let broadcast: UInt64 = 0xffff_ffff_ffff
    /// In an address as its six bytes lie in memory, little-endian.
    private static let groupBit: UInt64 = 1

    /// - Parameter address: the card's, as its six bytes lie in memory, little-endian.
    init(address: UInt64) {
        self.address = address
    }

    /// Forgets what a driver has said.
    ///
    /// - Parameter checksVLANs: whether frames of VLANs that the driver does not add are unwanted.
    func reset(address: UInt64, checksVLANs: Bool) {
        self.address = address
        modes = .promiscuous
        unicastCount = 0
        multicastCount = 0
        for word in 0..<vlans.count { vlans[word] = 0 }
        self.checksVLANs = checksVLANs
        settle()
    }

    func set(_ mode: Modes, _ isOn: Bool) {
        if isOn { modes.insert(mode) } else { modes.remove(mode) }
        settle()
    }

    func setAddress(_ address: UInt64) {
        self.address = address
    }

    /// Empties a table, before its addresses are added. A `count` beyond its size means that all are wanted.
    func beginTable(multicast isMulticast: Bool, count: Int) {
        if isMulticast { multicastCount = count } else { unicastCount = count }
    }

    /// Puts an address into a table; those that find no room are left out.
    func setTable(multicast isMulticast: Bool, _ index: Int, _ address: UInt64) {
        guard index >= 0, index < Self.tableSize else { return }
        if isMulticast { multicast[index] = address } else { unicast[index] = address }
    }

    func setVLAN(_ number: UInt16, isWanted: Bool) {
        guard number < Ethernet.vlanCount else { return }
        let bit = UInt64(1) << UInt64(number % 64)
        if isWanted { vlans[Int(number / 64)] |= bit } else { vlans[Int(number / 64)] &= ~bit }
    }

    private func settle() {
        isOpen = modes.contains(.promiscuous) && !checksVLANs
    }

    /// Whether a frame is wanted, by its first 16 bytes.
    func wants(_ first: UInt64, _ second: UInt64) -> Bool {
        if checksVLANs, UInt16(truncatingIfNeeded: second >> 32).byteSwapped == Ethernet.tagProtocol {
            let number = UInt16(truncatingIfNeeded: second >> 48).byteSwapped & 0xfff
            // Number 0 is no VLAN but a priority.
            guard number == 0 || vlans[Int(number / 64)] >> UInt64(number % 64) & 1 == 1 else { return false }
        }
        if modes.contains(.promiscuous) { return true }
        let destination = first & Self.broadcast
        if destination == Self.broadcast { return !modes.contains(.noBroadcast) }
        if destination & Self.groupBit != 0 {
            return !modes.contains(.noMulticast)
                && (modes.contains(.allMulticast) || multicastCount > Self.tableSize
                    || Self.contains(multicast, multicastCount, destination))
        }
        return !modes.contains(.noUnicast)
            && (destination == address || modes.contains(.allUnicast) || unicastCount > Self.tableSize
                || Self.contains(unicast, unicastCount, destination))
    }

    private static func contains(
        _ table: borrowing FixedTable<UInt64>, _ count: Int, _ address: UInt64
    ) -> Bool {
        for index in 0..<min(count, tableSize) where table[index] == address { return true }
        return false
    }
}
