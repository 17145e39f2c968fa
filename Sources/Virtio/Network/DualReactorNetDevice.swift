package import Backends
package import EventLoop

/// A network card that receives on its own reactor and sends on another: `rx-iothread` and `tx-iothread`.
package final class DualReactorNetDevice: NetDevice {
    private let sender: ReactorHandle
    private var servers: [RemoteTxServer] = []

    /// - Parameters:
    ///   - id: what the log calls the card.
    ///   - tap: used by this device alone.
    ///   - sender: the reactor that sends.
    package init(id: String, tap: Tap, options: Options, sendingOn sender: ReactorHandle) {
        self.sender = sender
        super.init(id: id, tap: tap, options: options)
    }

    package override var sent: NetworkCounters {
        var total = NetworkCounters()
        for server in servers { total += server.counters }
        return total
    }

    override func startData(_ context: DeviceContext) {
        if servers.isEmpty {
            servers = tap.queues.map { queue in
                RemoteTxServer(queue, from: context.reactor, on: sender) { [weak self] in self?.tapIsGone() }
            }
        }
        let pairs = context.features.contains(.netMultiqueue) ? servers.count : 1
        for (pair, server) in servers.prefix(pairs).enumerated() {
            context.offload(2 * pair + 1..<2 * pair + 2, to: server)
        }
        super.startData(context)
    }

    override var sendsHere: Bool { false }

    override func openPairs() {
        super.openPairs()
        for (pair, server) in servers.enumerated() { server.setOpen(isOpen(pair)) }
    }

    package override func retired() {
        super.retired()
        for server in servers { server.close() }
        servers = []
    }
}
