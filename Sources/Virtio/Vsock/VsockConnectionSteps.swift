/// What a connection tells its owner to do, and which operations the owner has in flight for it.
extension VsockConnection {
    /// Operations that have not completed.
    struct InFlight: OptionSet {
        let rawValue: UInt8

        /// Watches the socket for data and for its end, as long as it lives.
        static let watch = InFlight(rawValue: 1)
        /// Waits until the socket takes data again.
        static let writable = InFlight(rawValue: 2)
        /// Reads into the guest's buffers.
        static let receive = InFlight(rawValue: 4)
        /// Sends from the guest's buffers.
        static let send = InFlight(rawValue: 8)
        /// Sends from the backlog.
        static let flush = InFlight(rawValue: 16)
        /// Takes or answers the line of a program that connects.
        static let line = InFlight(rawValue: 32)
        /// Waits for the next attempt to reach a listener.
        static let pause = InFlight(rawValue: 64)

        /// The tag of an operation of this kind for the connection in a slot.
        func tag(_ slot: Int) -> UInt32 { UInt32(truncatingIfNeeded: slot) << 8 | UInt32(rawValue) }

        /// The slot and the kind of a tag.
        static func parse(_ tag: UInt32) -> (slot: Int, kind: InFlight) {
            (Int(tag >> 8), InFlight(rawValue: UInt8(truncatingIfNeeded: tag)))
        }
    }

    /// What a connection's owner has to do next, in this order.
    struct Steps: OptionSet {
        let rawValue: UInt8

        /// Shut down the socket's directions.
        static let shutDownReading = Steps(rawValue: 1)
        static let shutDownWriting = Steps(rawValue: 2)
        /// Cancel the operations that only wait.
        static let cancelWaiting = Steps(rawValue: 4)
        static let closeSocket = Steps(rawValue: 8)
        /// Free the slot.
        static let release = Steps(rawValue: 16)
        static let awaitWritable = Steps(rawValue: 32)
        /// Send data of the guest.
        static let send = Steps(rawValue: 64)
        /// Fill buffers of the guest.
        static let serveGuest = Steps(rawValue: 128)
    }

    /// What a packet of the guest calls for.
    enum Outcome: Equatable {
        /// Nothing; not even `settle()`.
        case ignored
        /// `settle()`.
        case noted
        /// Pass on the packet's data, then `settle()`.
        case data
        /// Tell the host's program that the guest has accepted, then `settle()`.
        case accepted
        /// The guest has forgotten this connection, and wants another with its ports.
        case restart
        /// The guest has left; `wantsReset` if it waits for one.
        case left(wantsReset: Bool)
        /// End the connection.
        case violation(VsockViolation)
    }

    /// What an event of the socket calls for, before `settle()`.
    enum SocketOutcome {
        case none
        /// Look at the line of a program that connects.
        case readLine
        /// Drop the guest's data.
        case discard
        /// End the connection towards the host; `reset` also towards the guest.
        case close
        case reset
    }

    /// What the owner does with the guest's data after a send.
    enum SendOutcome {
        case none
        /// Drop it.
        case discard
        /// Make room for other connections: the socket takes no more for now.
        case blocked
    }
}
