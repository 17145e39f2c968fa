extension NetDevice {
    /// The state of a network device at rest: what its driver can see and has set. It has no frames: those in the tap
    /// are lost, and buffers return to the queues.
    package struct State: Equatable, Sendable {
        /// The address of the device; a driver finds it after a reset. Six bytes.
        package var permanentMAC: [UInt8]
        /// The current address, which a driver can set. Six bytes.
        package var mac: [UInt8]
        package var isLinkUp: Bool
        /// The pairs of queues that the device has, and those that the driver uses.
        package var pairs: Int
        package var activePairs: Int
        /// The offloads of received frames that the driver has set, as their features' bits; nil for all negotiated.
        package var offloads: UInt64?
        package var filter: Filter

        /// The frames that the driver wants.
        package struct Filter: Equatable, Sendable {
            /// `VIRTIO_NET_CTRL_RX_*`, one bit for each by its number.
            package var modes: UInt8
            /// Addresses as their six bytes lie in memory, little-endian; nil if all of this kind are wanted.
            package var unicast: [UInt64]?
            package var multicast: [UInt64]?
            /// One bit for each VLAN, in words of 64.
            package var vlans: [UInt64]

            /// A state with these values.
            package init(
                modes: UInt8, unicast: [UInt64]?, multicast: [UInt64]?, vlans: [UInt64]
            ) {
                self.modes = modes
                self.unicast = unicast
                self.multicast = multicast
                self.vlans = vlans
            }

            /// Checks the values that come from outside.
            func check() throws(StateError) {
                guard modes & ~ReceiveFilter.Modes.all.rawValue == 0 else {
                    throw StateError("the receive modes 0x\(String(modes, radix: 16)) have unknown bits")
                }
                for table in [unicast ?? [], multicast ?? []] {
                    guard table.count <= ReceiveFilter.tableSize else {
                        throw StateError("a table of \(table.count) addresses is too long")
                    }
                    guard table.allSatisfy({ $0 >> 48 == 0 }) else { throw StateError("an address has too many bits") }
                }
                guard vlans.count == ReceiveFilter.vlanWords else {
                    throw StateError("the VLAN table has \(vlans.count) words instead of \(ReceiveFilter.vlanWords)")
                }
            }
        }

        /// A state with these values.
        package init(
            permanentMAC: [UInt8], mac: [UInt8], isLinkUp: Bool, pairs: Int, activePairs: Int, offloads: UInt64?,
            filter: Filter
        ) {
            self.permanentMAC = permanentMAC
            self.mac = mac
            self.isLinkUp = isLinkUp
            self.pairs = pairs
            self.activePairs = activePairs
            self.offloads = offloads
            self.filter = filter
        }

        /// Checks the values that come from outside against a device with `pairs` pairs of queues.
        func check(pairs: Int) throws(StateError) {
            guard permanentMAC.count == Ethernet.addressSize, mac.count == Ethernet.addressSize else {
                throw StateError("an address has not \(Ethernet.addressSize) bytes")
            }
            guard self.pairs == pairs else {
                throw StateError("the device has \(pairs) pairs of queues, and the saved one had \(self.pairs)")
            }
            guard 1...pairs ~= activePairs else {
                throw StateError("the driver cannot use \(activePairs) of \(pairs) pairs of queues")
            }
            guard Features(rawValue: offloads ?? 0).isSubset(of: .netGuestOffloads) else {
                throw StateError("the offloads 0x\(String(offloads ?? 0, radix: 16)) have unknown bits")
            }
            try filter.check()
        }
    }
}
