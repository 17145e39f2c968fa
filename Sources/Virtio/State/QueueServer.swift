/// Serves queues of a device in place of this process's worker: the kernel's vhost, a vhost-user process, or another
/// reactor. It takes requests from their doorbells and raises their interrupts itself.
///
///     start ── resume ⇄ stop ── forget
///
/// A device makes the server and offers it to its context when it is activated; the worker calls all else.
package protocol QueueServer: AnyObject {
    /// Takes over a driver's queues, to serve them from `resume` on; fails the device if that cannot be.
    func start(_ queues: Range<Int>, _ context: DeviceContext)

    /// Serves the queues from where they are.
    func resume()

    /// Takes no more requests; `isAtRest` tells when the queues are as others can go on with them. A server that needs
    /// time for it calls the context's `serverIsAtRest` then.
    func stop()

    /// Forgets the driver; called at rest.
    func forget()

    /// Whether guest memory is left alone.
    var isAtRest: Bool { get }
}

/// The queues of an activated device that servers serve, and how these follow its life.
struct OffloadedQueues {
    private var servers: [any QueueServer] = []
    /// Their queues, one bit each.
    private var queues: UInt64 = 0
    /// The device has stopped until the driver resets it.
    private var isHalted = false

    /// Leaves queues to a server.
    mutating func add(_ range: Range<Int>, to server: any QueueServer) {
        servers.append(server)
        for index in range where (0..<Doorbells.maximumCount).contains(index) { queues |= 1 << UInt64(index) }
    }

    /// Whether a server serves the queue.
    func contains(_ index: Int) -> Bool { queues >> UInt64(truncatingIfNeeded: index) & 1 != 0 }

    /// Whether all servers leave guest memory alone.
    var isAtRest: Bool { servers.allSatisfy(\.isAtRest) }

    /// Serves the queues, unless the device has stopped.
    func resume() {
        if !isHalted { for server in servers { server.resume() } }
    }

    /// Takes no more requests.
    func stop() {
        for server in servers { server.stop() }
    }

    /// Takes no more requests from this driver.
    mutating func halt() {
        isHalted = true
        stop()
    }

    /// Forgets the driver; at rest.
    mutating func forget() {
        for server in servers { server.forget() }
        self = OffloadedQueues()
    }
}
