extension UnixVsockDevice {
    /// The state of the device that survives it.
    ///
    /// Connections do not: their sockets stay with the device. A device made from a state tells the driver to end them,
    /// and gives packets of theirs that the driver had queued back unsent.
    package struct State: Equatable, Sendable {
        /// The guest's address, which the driver has read.
        package var guestCID: UInt64
        /// The port of the host that the next connection gets: the driver may still know the connections of earlier ones.
        package var nextPort: UInt32

        package init(guestCID: UInt64, nextPort: UInt32) {
            self.guestCID = guestCID
            self.nextPort = nextPort
        }

        /// Checks that a device can go on from the state.
        ///
        /// - Throws: what is wrong with it, for the device `id` with the address `deviceCID`.
        func check(for id: String, deviceCID: UInt64) throws(StateError) {
            guard guestCID == deviceCID else {
                throw StateError(
                    "\(id): the saved device has guest CID \(guestCID), this one has \(deviceCID); use the same")
            }
            guard ConnectionTable.hostPorts.contains(nextPort) else {
                throw StateError("\(id): the saved state has port \(nextPort), which no connection gets")
            }
        }
    }
}
