import Backends
import EventLoop
import Host

/// Has another reactor serve a sending queue of a card: the card's own end of a `RemoteTxQueue`.
final class RemoteTxServer: QueueServer {
    private enum Phase {
        case atRest, running, stopping
    }

    private let sender: ReactorHandle
    private let tapIsGone: () -> Void
    private var line: RemoteTxQueue.Line?
    private var phase = Phase.atRest
    /// Whether it is to run, as soon as it can.
    private var isResumed = false
    private var number = 0
    private var context: DeviceContext?

    /// - Parameters:
    ///   - reactor: the card's own.
    ///   - sender: the reactor that sends.
    ///   - tapIsGone: called on the card's own reactor.
    init(
        _ queue: TapQueue, from reactor: Reactor, on sender: ReactorHandle, tapIsGone: @escaping () -> Void
    ) {
        self.sender = sender
        self.tapIsGone = tapIsGone
        let (server, card) = (ReactorBound(self, to: reactor), reactor.handle)
        line = RemoteTxQueue.Line(queue, on: sender) { report in
            card.send { reactor in server.value(on: reactor)?.hear(report) }
        }
    }

    /// What the driver has sent.
    var counters: NetworkCounters { line?.counters ?? NetworkCounters() }

    /// Lets frames pass, or drops them.
    func setOpen(_ isOpen: Bool) { line?.setOpen(isOpen) }

    var isAtRest: Bool { phase == .atRest }

    /// A driver may start the card without the queue; its frames then stay unsent.
    func start(_ queues: Range<Int>, _ context: DeviceContext) {
        number = queues.lowerBound
        self.context = context
    }

    func resume() {
        isResumed = true
        advance()
    }

    func stop() {
        isResumed = false
        guard phase == .running else { return }
        phase = .stopping
        line?.stop()
    }

    func forget() { context = nil }

    /// Ends for good.
    func close() {
        line?.retire()
        line = nil
    }

    private func advance() {
        guard isResumed, phase == .atRest, let context, let line, let queue = context.queue(number),
            let doorbell = context.doorbell(number)
        else { return }
        guard let position = queue.leave() else {
            return context.fail("queue \(number): another device holds requests that the driver no longer offers")
        }
        phase = .running
        line.start(
            RemoteTxQueue.Work(
                layout: queue.layout, features: context.features, memory: context.memory, position: position,
                doorbell: doorbell, interrupt: context.interrupt(number)))
    }

    private func hear(_ report: RemoteTxQueue.Report) {
        switch report {
        case .stopped(let position):
            phase = .atRest
            if let position { context?.queue(number)?.goOn(at: position) }
            advance()
            context?.serverIsAtRest()
        case .tapIsGone: tapIsGone()
        case .failed(let reason): context?.fail("queue \(number): \(reason)")
        }
    }
}
