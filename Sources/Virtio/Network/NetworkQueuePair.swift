import Backends
import EventLoop
import Host

/// What a direction of a pair of queues needs before it can go on.
enum RxOutcome {
    /// The driver.
    case nothing
    /// The tap, which is to tell.
    case poll
    /// Another turn.
    case again
    /// The tap is no more.
    case failed
}

/// One queue of the tap with the two of the driver's that it serves: one to receive, one to send.
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

    /// - Parameter sends: whether nobody else sends the driver's frames.
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

    /// Gives the file back, when no operation uses it any more.
    func retire() { reactor.unregister(file) }

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

    // MARK: Frames

    /// The driver has offered buffers, or may have.
    ///
    /// - Returns: false if the tap is no more.
    func receive(for device: VirtioDevice) -> Bool { follow(receiver.receive(), device) }

    private func follow(_ wish: RxOutcome, _ device: VirtioDevice) -> Bool {
        switch wish {
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

    /// The driver has offered frames, or may have.
    ///
    /// - Returns: false if the tap is no more.
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

    /// A poll for one of the pair's queues has ended.
    ///
    /// - Returns: false if the tap is no more.
    func polled(isForReading: Bool, for device: VirtioDevice) -> Bool {
        if isForReading {
            pollsForReading = false
            return follow(receiver.becameReadable(), device)
        }
        pollsForWriting = false
        return transmit(for: device)
    }
}
