import Backends
import EventLoop
import Host

/// What a queue needs next.
enum NextAction {
    /// Nothing: it waits for the driver.
    case nothing
    /// A poll of the tap.
    case poll
    /// Another turn.
    case again
    /// The link down: the tap is gone.
    case failed
}

/// One queue of the tap with the driver's two queues that it serves: a receiving and a sending one.
final class NetworkQueuePair {
    let receiver: Receiver
    let transmitter: Transmitter
    private let tap: Tap
    private let reactor: Reactor
    private let file: IOFile
    private let index: Int
    private var context: DeviceContext?
    private var isAttached: Bool
    private var pollsForReading = false
    private var pollsForWriting = false

    init(_ index: Int, _ tap: Tap, _ reactor: Reactor, filter: ReceiveFilter) {
        self.index = index
        self.tap = tap
        self.reactor = reactor
        isAttached = index == 0
        file = reactor.register(tap.queues[index].descriptor)
        receiver = Receiver(tap.queues[index], filter: filter)
        transmitter = Transmitter(tap.queues[index])
        receiver.setAttached(isAttached)
    }

    // MARK: Life

    /// - Parameter sends: whether this pair serves the sending queue, too.
    func start(_ context: DeviceContext, sends: Bool) {
        self.context = context
        receiver.start(context.queue(2 * index), context.features)
        transmitter.start(sends ? context.queue(2 * index + 1) : nil)
    }

    /// Forgets the driver.
    func stop() {
        context = nil
        receiver.stop()
        transmitter.stop()
    }

    /// Gives the file back to the reactor, when no operation uses it.
    func retire() { reactor.unregister(file) }

    /// Attaches the tap's queue, so that the kernel uses it, or detaches it.
    func setAttached(_ isAttached: Bool) throws(Errno) {
        guard tap.queues.count > 1, isAttached != self.isAttached else { return }
        try tap.setQueue(index, isAttached: isAttached)
        self.isAttached = isAttached
        receiver.setAttached(isAttached)
    }

    /// Passes frames on, or drops them.
    func setOpen(_ isOpen: Bool) {
        receiver.isOpen = isOpen
        transmitter.isOpen = isOpen && isAttached
    }

    // MARK: Frames

    /// Receives into the buffers that the driver may have offered.
    ///
    /// - Returns: false if the tap is gone.
    func receive(for device: VirtioDevice) -> Bool { follow(receiver.receive(), device) }

    private func follow(_ action: NextAction, _ device: VirtioDevice) -> Bool {
        switch action {
        case .nothing: break
        case .poll:
            if !pollsForReading {
                pollsForReading = reactor.submit(.poll(file, PollEvents.readable), for: device, tag: UInt32(2 * index))
            }
        case .again: if let context, let queue = context.queue(2 * index) { context.resume(queue) }
        case .failed: return false
        }
        return true
    }

    /// Sends the frames that the driver may have offered.
    ///
    /// - Returns: false if the tap is gone.
    func transmit(for device: VirtioDevice) -> Bool {
        switch transmitter.transmit() {
        case .nothing, .again: break
        case .poll:
            if !pollsForWriting {
                pollsForWriting = reactor.submit(
                    .poll(file, PollEvents.writable), for: device, tag: UInt32(2 * index + 1))
            }
        case .failed: return false
        }
        return true
    }

    /// Continues after a poll for one of the pair's queues.
    ///
    /// - Returns: false if the tap is gone.
    func polled(isForReading: Bool, for device: VirtioDevice) -> Bool {
        if isForReading {
            pollsForReading = false
            return follow(receiver.becameReadable(), device)
        }
        pollsForWriting = false
        return transmit(for: device)
    }
}
