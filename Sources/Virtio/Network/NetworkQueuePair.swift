import Backends
import EventLoop
import Host

/// One queue of the tap with the two of the driver's that it serves: one to receive, one to send.
final class NetworkQueuePair {
    let receiver: Receiver
    let transmitter: Transmitter
    private let tap: Tap
    private let file: IOFile
    private let index: Int
    private var port: NetworkPort?
    private var isAttached: Bool

    init(_ index: Int, _ tap: Tap, _ reactor: Reactor, filter: ReceiveFilter) {
        self.index = index
        self.tap = tap
        isAttached = index == 0
        file = reactor.register(tap.queues[index].descriptor)
        receiver = Receiver(file, filter: filter)
        transmitter = Transmitter(file)
        receiver.setAttached(isAttached)
    }

    func start(_ device: VirtioDevice, _ context: DeviceContext) {
        port = NetworkPort(device: device, reactor: context.reactor, pair: index)
        receiver.start(context.queue(2 * index), context.features)
        transmitter.start(context.queue(2 * index + 1))
    }

    /// Forgets the driver; nothing is in flight.
    func stop() {
        receiver.stop()
        transmitter.stop()
        port = nil
    }

    /// Gives the file back, when no operation uses it any more.
    func retire(_ reactor: Reactor) { reactor.unregister(file) }

    /// Lets the kernel use this pair, or not.
    func setAttached(_ isAttached: Bool) throws(Errno) {
        guard tap.queues.count > 1, isAttached != self.isAttached else { return }
        try tap.setQueue(index, isAttached: isAttached)
        self.isAttached = isAttached
        receiver.setAttached(isAttached)
    }

    /// Lets frames pass, or drops them.
    func setOpen(_ isOpen: Bool) {
        receiver.isOpen = isOpen
        transmitter.isOpen = isOpen && isAttached
    }

    var isIdle: Bool { receiver.isIdle && transmitter.isIdle }

    func receive(_ queue: Virtqueue) {
        if let port { receiver.process(queue, port) }
    }

    func transmit(_ queue: Virtqueue) {
        if let port { transmitter.process(queue, port) }
    }

    /// An operation has ended.
    func completed(_ purpose: NetworkPort.Purpose, _ slot: Int, _ result: Int32) -> Transmitter.Event {
        guard let port else {
            if purpose == .readable { receiver.forgetPoll() }
            if purpose == .writable { transmitter.forgetPoll() }
            return .nothing
        }
        switch purpose {
        case .read: return receiver.read(slot, result, port) ? .nothing : .gone
        case .write: return transmitter.wrote(slot, result, port)
        case .readable: receiver.becameReadable(port)
        case .writable: transmitter.becameWritable(port)
        }
        return .nothing
    }
}
