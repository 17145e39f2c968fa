/// How a worker reaches the driver; the bus that the device sits on implements it.
protocol VirtioTransport: AnyObject {
    /// The driver wants to hear of used buffers in these queues, one bit each. At most once a turn.
    func usedBuffers(inQueues queues: UInt64)

    /// The eventfd that raises the interrupt of a queue.
    func interrupt(ofQueue index: Int) -> Int32?

    /// The device's configuration has changed.
    func configurationChanged()

    /// The device has stopped until the driver resets it.
    func deviceNeedsReset()
}
