/// A packet of the guest that breaks the rules; it ends the connection that it is for.
enum VsockViolation: Equatable, CustomStringConvertible {
    case noHeader
    /// The source is not the guest's CID.
    case source(UInt64, of: UInt64)
    case outOfOrder(VsockOperation)
    case dataTooEarly
    case dataAfterShutdown
    /// More data [bytes] than the packet's buffers hold.
    case length(UInt32, of: Int)
    /// More data [bytes] than the guest had credit for.
    case credit(UInt32, of: UInt32)

    var description: String {
        switch self {
        case .noHeader: "a packet without a whole header"
        case .source(let source, let guestCID): "a packet from CID \(source), and has \(guestCID)"
        case .outOfOrder(let operation): "a packet of operation \(operation.rawValue) out of order"
        case .dataTooEarly: "data before the connection"
        case .dataAfterShutdown: "data after its shutdown"
        case .length(let length, let count): "\(length) bytes of data in buffers of \(count)"
        case .credit(let length, let allowance): "\(length) bytes of data with credit for \(allowance)"
        }
    }
}
