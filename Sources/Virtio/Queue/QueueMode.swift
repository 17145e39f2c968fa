/// What keeps a queue from handing out the next entry of its available ring.
struct QueueMode: OptionSet {
    let rawValue: UInt8

    /// Hands out nothing until the next reset.
    static let stopped = QueueMode(rawValue: 1)
    /// Hands out nothing while the device is paused.
    static let paused = QueueMode(rawValue: 2)
    /// Hands out the chains that are held back first.
    static let holdsBack = QueueMode(rawValue: 4)
}
