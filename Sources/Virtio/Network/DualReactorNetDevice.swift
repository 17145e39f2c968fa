package import Backends
package import EventLoop
import Host

/// A network card that receives on its own reactor and sends on another: `rx-iothread` and `tx-iothread`.
///
/// What is sent there is nobody's business here, as with vhost: the other reactor has the sending queues from a start
/// to a stop, and answers a stop when it leaves them alone.
package final class DualReactorNetDevice: NetDevice {
    private let there: ReactorHandle
    private var lanes: [Lane] = []
    private var isHalted = false

    /// A sending queue's lane, and what the card knows of it.
    private final class Lane {
        enum State { case atRest, running, stopping }

        let line: RemoteTxQueue.Line
        var state = State.atRest
        /// Whether it is to run, as soon as it can.
        var isWanted = false

        init(_ line: RemoteTxQueue.Line) {
            self.line = line
        }
    }

    /// - Parameters:
    ///   - id: what the log calls the card.
    ///   - tap: used by this device alone.
    ///   - there: the reactor that sends.
    package init(id: String, tap: Tap, options: Options, sendingOn there: ReactorHandle) {
        self.there = there
        super.init(id: id, tap: tap, options: options)
    }

    /// The other thread raises the interrupt by itself.
    package override var interruptsDirectly: Bool { true }

    package override var isIdle: Bool { lanes.allSatisfy { $0.state == .atRest } }

    package override var sent: NetworkCounters {
        var total = NetworkCounters()
        for lane in lanes { total += lane.line.counters }
        return total
    }

    package override func servesQueue(_ index: Int) -> Bool {
        guard let context else { return true }
        return index == controlQueue(context.features) || index & 1 == 0
    }

    // MARK: Life

    override func startData(_ context: DeviceContext) {
        if lanes.isEmpty {
            for (index, queue) in tap.queues.enumerated() { lanes.append(Lane(line(queue, index, context.reactor))) }
        }
        isHalted = false
        super.startData(context)
        resume()
    }

    override var sendsHere: Bool { false }

    private func line(_ queue: TapQueue, _ index: Int, _ reactor: Reactor) -> RemoteTxQueue.Line {
        let (card, here) = (ReactorBound(self, to: reactor), reactor.handle)
        return RemoteTxQueue.Line(queue, on: there) { report in
            here.send { reactor in card.value(on: reactor)?.hear(report, of: index) }
        }
    }

    override func openPairs() {
        super.openPairs()
        for (index, lane) in lanes.enumerated() { lane.line.setOpen(isOpen(index)) }
    }

    package override func resume() {
        guard let context, !isHalted else { return }
        for (index, lane) in lanes.enumerated() {
            lane.isWanted = true
            start(lane, index, context)
        }
    }

    private func start(_ lane: Lane, _ index: Int, _ context: DeviceContext) {
        let number = 2 * index + 1
        guard lane.state == .atRest, let queue = context.queue(number), number != controlQueue(context.features),
            let doorbell = context.doorbell(number), let interrupt = context.interrupt(number)
        else { return }
        lane.state = .running
        lane.line.start(
            RemoteTxQueue.Work(
                layout: queue.layout, features: context.features, memory: context.memory, position: queue.position,
                doorbell: doorbell, interrupt: interrupt))
    }

    package override func pause() { stop() }

    package override func cancelRequests() { stop() }

    package override func queueStopped(_ index: Int) {
        isHalted = true
        stop()
    }

    private func stop() {
        for lane in lanes {
            lane.isWanted = false
            guard lane.state == .running else { continue }
            lane.state = .stopping
            lane.line.stop()
        }
    }

    private func hear(_ report: RemoteTxQueue.Report, of index: Int) {
        let number = 2 * index + 1
        switch report {
        case .stopped(let position):
            let lane = lanes[index]
            lane.state = .atRest
            if let position { context?.queue(number)?.goOn(at: position) }
            if lane.isWanted, let context { start(lane, index, context) }
            wakeWorker()
        case .tapIsGone: tapIsGone()
        case .failed(let reason): context?.fail("queue \(number): \(reason)")
        }
    }

    package override func retired() {
        super.retired()
        for lane in lanes { lane.line.retire() }
        lanes = []
    }
}
