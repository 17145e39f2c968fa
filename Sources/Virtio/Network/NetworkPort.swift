import EventLoop

/// How one pair of queues makes operations: for its device, with tags that tell what has ended.
struct NetworkPort {
    let device: VirtioDevice
    let reactor: Reactor
    let pair: Int

    /// What an operation was for.
    enum Purpose: UInt32 {
        case read
        case write
        case readable
        case writable
    }

    /// - Returns: false if the device is being removed.
    func submit(_ operation: consuming Operation, _ purpose: Purpose, _ slot: Int) -> Bool {
        let tag = purpose.rawValue << 24 | UInt32(truncatingIfNeeded: pair) << 16 | UInt32(truncatingIfNeeded: slot)
        return reactor.submit(operation, for: device, tag: tag)
    }

    /// What a tag was made from.
    static func split(_ tag: UInt32) -> (purpose: Purpose?, pair: Int, slot: Int) {
        (Purpose(rawValue: tag >> 24), Int(tag >> 16 & 0xff), Int(tag & 0xffff))
    }
}
