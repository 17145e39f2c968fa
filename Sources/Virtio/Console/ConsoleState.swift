extension ConsoleDevice {
    /// The state of a console device at rest: its ports, in the order of their numbers.
    package struct State: Equatable, Sendable {
        package var ports: [Port]

        /// The state of one port.
        package struct Port: Equatable, Sendable {
            /// The number, the name and the kind that the guest knows; they must be those of the restoring device.
            package var number: Int
            package var name: [UInt8]
            package var isConsole: Bool
            /// Whether the driver has declared the port ready.
            package var isReady: Bool
            /// Whether the driver has opened its end.
            package var isGuestOpen: Bool
            /// Whether the host's end was open.
            package var isHostOpen: Bool
            /// The control messages that wait for the driver's buffers, one bit each.
            package var announcements: UInt8
            /// The output that was sent in part.
            package var output: PartialOutput?

            /// A state with these values.
            package init(
                number: Int, name: [UInt8], isConsole: Bool, isReady: Bool, isGuestOpen: Bool, isHostOpen: Bool,
                announcements: UInt8, output: PartialOutput?
            ) {
                self.number = number
                self.name = name
                self.isConsole = isConsole
                self.isReady = isReady
                self.isGuestOpen = isGuestOpen
                self.isHostOpen = isHostOpen
                self.announcements = announcements
                self.output = output
            }
        }

        /// A chain of output that the host's end has taken in part; its queue hands it out again.
        package struct PartialOutput: Equatable, Sendable {
            package var head: UInt16
            /// The bytes that the host's end has taken.
            package var taken: UInt32

            /// A state with these values.
            package init(
                head: UInt16, taken: UInt32
            ) {
                self.head = head
                self.taken = taken
            }
        }

        /// A state with these values.
        package init(
            ports: [Port]
        ) {
            self.ports = ports
        }
    }
}
