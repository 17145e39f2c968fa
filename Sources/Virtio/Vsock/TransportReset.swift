/// The transport reset that a restored device sends to the driver (virtio 1.2 section 5.10.6.7), and the driver's answer.
///
/// The driver ends all its connections when it handles the event. A packet that it gets before would meet one of these,
/// so the receive queue waits until the driver offers a buffer for events again, which it does afterwards.
struct TransportReset: BitwiseCopyable {
    private enum Phase: UInt8 {
        case none
        /// Due; the event queue was not looked at yet.
        case first
        /// Due; the driver has not offered a buffer.
        case due
        /// Written into a buffer; some buffers that the driver offered earlier were not taken yet.
        case written
        /// Sent; any further buffer is the driver's answer.
        case unanswered
    }

    /// What serving the event queue has come to.
    struct Outcome: OptionSet {
        let rawValue: UInt8

        /// The driver gets the event at the end of this turn.
        static let sent = Outcome(rawValue: 1)
        /// The driver has handled the event.
        static let answered = Outcome(rawValue: 2)
        /// The driver has offered a buffer without room for the event.
        static let smallBuffer = Outcome(rawValue: 4)
    }

    private var phase = Phase.none
    /// The chain that has the event.
    private var head: UInt16 = 0

    /// No reset is due.
    init() {}

    /// A reset of a driver that knows connections which no longer exist.
    static var due: TransportReset {
        var reset = TransportReset()
        reset.phase = .first
        return reset
    }

    /// Whether other queues wait until the event queue was served.
    var precedesTraffic: Bool { phase == .first }

    /// Whether the receive queue waits for the driver's answer.
    var holdsReceive: Bool { phase == .written || phase == .unanswered }

    /// Sends the event, or looks for the answer; once a turn.
    ///
    /// It takes all buffers before it gives that with the event back, so that the next one is the answer and the driver
    /// notifies the device of it. It keeps the others: no other event exists, and the queue hands them out again after a
    /// restore.
    mutating func serve(_ queue: Virtqueue) -> Outcome {
        guard phase != .none else { return [] }
        var outcome: Outcome = []
        var taken = 0
        while let chain = queue.next() {
            taken += 1
            switch phase {
            case .first, .due:
                // `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`
                if chain.writable.put(UInt32(0)) {
                    head = chain.head
                    phase = .written
                } else {
                    outcome.insert(.smallBuffer)
                    queue.complete(chain.head, written: 0)
                }
            case .written: break
            case .none, .unanswered:
                phase = .none
                return .answered
            }
        }
        if phase == .first { phase = .due }
        if phase == .written, taken < Virtqueue.chainsPerTurn {
            queue.complete(head, written: 4)
            phase = .unanswered
            outcome.insert(.sent)
        }
        return outcome
    }
}
