/// Flow control of one connection, in both directions (virtio 1.2 section 5.10.6.3).
///
/// Counters are bytes since the connection began, modulo 2^32. The guest may claim any value for its own.
struct VsockCredit: BitwiseCopyable {
    /// Bytes sent to the guest; the guest's buffer and the bytes that have left it, as last announced.
    private var sent: UInt32 = 0
    private var guestBuffer: UInt32 = 0
    private var guestForwarded: UInt32 = 0
    /// The guest was asked for credit and has sent no packet since.
    private var hasAsked = false
    /// Bytes received from the guest, bytes passed on to the host, and how many of the latter the guest was told.
    private var received: UInt32 = 0
    private var forwarded: UInt32 = 0
    private var announced: UInt32 = 0
    /// Buffer promised to the guest: the bytes it may send beyond those passed on.
    let window: UInt32

    /// - Parameter window: the buffer promised to the guest [bytes].
    init(window: UInt32) {
        self.window = window
    }

    /// Bytes that the guest has room for.
    var available: UInt32 {
        let unread = sent &- guestForwarded
        return unread < guestBuffer ? guestBuffer &- unread : 0
    }

    /// Bytes that the guest may send now.
    var allowance: UInt32 { window &- unforwarded }

    /// Bytes of the guest that have not been passed on yet.
    var unforwarded: UInt32 { received &- forwarded }

    /// Takes note of the guest's buffer, which every packet of the guest announces.
    mutating func update(_ header: VsockHeader) {
        guestBuffer = header.bufferSize
        guestForwarded = header.forwarded
        hasAsked = false
    }

    /// Whether to ask the guest for credit: once until it sends a packet again.
    mutating func ask() -> Bool {
        guard available == 0, !hasAsked else { return false }
        hasAsked = true
        return true
    }

    /// Counts bytes sent to the guest.
    mutating func send(_ count: Int) {
        sent &+= UInt32(truncatingIfNeeded: count)
    }

    /// Counts bytes received from the guest, which has the allowance for them.
    mutating func receive(_ count: UInt32) {
        received &+= count
    }

    /// Counts bytes passed on to the host, or dropped.
    ///
    /// - Returns: whether to tell the guest: a quarter of the window has become free since the last packet to it.
    mutating func forward(_ count: Int) -> Bool {
        forwarded &+= UInt32(truncatingIfNeeded: count)
        return forwarded &- announced >= window / 4
    }

    /// The bytes passed on, for a packet to the guest, which knows them from then on.
    mutating func announce() -> UInt32 {
        announced = forwarded
        return forwarded
    }
}
