import Host

/// The frames that the driver wants (virtio 1.2 section 5.1.6.5.1 to 5.1.6.5.3): all of them, until it sets a filter.
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
        static let all = Modes(rawValue: 63)
    }

    /// The most addresses of a table; a driver with more receives all frames of that kind.
    static let tableSize = 64
    static let vlanWords = Ethernet.vlanCount / 64

    private var modes: Modes = .promiscuous
    private var address: UInt64
    private let unicast = FixedTable<UInt64>(repeating: 0, count: ReceiveFilter.tableSize)
    private let multicast = FixedTable<UInt64>(repeating: 0, count: ReceiveFilter.tableSize)
    private var unicastCount = 0
    private var multicastCount = 0
    /// One bit for each VLAN.
    private let vlans = FixedTable<UInt64>(repeating: 0, count: ReceiveFilter.vlanWords)
    private var checksVLANs = false
    /// Whether the driver wants every frame.
    private(set) var isOpen = true

    private static let broadcast: UInt64 = 0xffff_ffff_ffff
    /// The group bit of an address as its six bytes lie in memory, little-endian.
    private static let groupBit: UInt64 = 1

    /// - Parameter address: the device's, as its six bytes lie in memory, little-endian.
    init(address: UInt64) {
        self.address = address
    }

    /// Forgets the driver's settings.
    func reset(address: UInt64) {
        self.address = address
        modes = .promiscuous
        unicastCount = 0
        multicastCount = 0
        for word in 0..<vlans.count { vlans[word] = 0 }
        start(checksVLANs: false)
    }

    /// - Parameter checksVLANs: whether the filter drops frames of VLANs that the driver has not added.
    func start(checksVLANs: Bool) {
        self.checksVLANs = checksVLANs
        update()
    }

    func set(_ mode: Modes, _ isOn: Bool) {
        if isOn { modes.insert(mode) } else { modes.remove(mode) }
        update()
    }

    func setAddress(_ address: UInt64) {
        self.address = address
    }

    /// Empties a table, before its addresses are added. A `count` beyond its size stands for all addresses.
    func beginTable(multicast isMulticast: Bool, count: Int) {
        if isMulticast { multicastCount = count } else { unicastCount = count }
    }

    /// Puts an address into a table; leaves out those beyond its size.
    func setTable(multicast isMulticast: Bool, _ index: Int, _ address: UInt64) {
        guard index >= 0, index < Self.tableSize else { return }
        if isMulticast { multicast[index] = address } else { unicast[index] = address }
    }

    func setVLAN(_ number: UInt16, isWanted: Bool) {
        guard number < Ethernet.vlanCount else { return }
        let bit = UInt64(1) << UInt64(number % 64)
        if isWanted { vlans[Int(number / 64)] |= bit } else { vlans[Int(number / 64)] &= ~bit }
    }

    private func update() {
        isOpen = modes.contains(.promiscuous) && !checksVLANs
    }

    /// Whether the driver wants a frame, by its first 16 bytes.
    func wants(_ first: UInt64, _ second: UInt64) -> Bool {
        if checksVLANs, UInt16(truncatingIfNeeded: second >> 32).byteSwapped == Ethernet.tagProtocol {
            let number = UInt16(truncatingIfNeeded: second >> 48).byteSwapped & 0xfff
            // Number 0 is not a VLAN but a priority.
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

// MARK: State

extension ReceiveFilter {
    /// The driver's settings; the address is the device's.
    var state: NetDevice.State.Filter {
        NetDevice.State.Filter(
            modes: modes.rawValue,
            unicast: unicastCount > Self.tableSize ? nil : (0..<unicastCount).map { unicast[$0] },
            multicast: multicastCount > Self.tableSize ? nil : (0..<multicastCount).map { multicast[$0] },
            vlans: (0..<vlans.count).map { vlans[$0] })
    }

    /// Takes over settings that were checked.
    func restore(_ state: NetDevice.State.Filter, address: UInt64) {
        self.address = address
        modes = Modes(rawValue: state.modes)
        for (isMulticast, table) in [(false, state.unicast), (true, state.multicast)] {
            beginTable(multicast: isMulticast, count: table?.count ?? .max)
            for (index, address) in (table ?? []).enumerated() { setTable(multicast: isMulticast, index, address) }
        }
        for (word, bits) in state.vlans.enumerated() where word < vlans.count { vlans[word] = bits }
        update()
    }
}
