import EventLoop
import Host
import Memory

/// A memory balloon (virtio 1.2 section 5.5): the driver gives up as much memory as the device asks for, and the host
/// frees it. Memory that the driver takes back is allocated again on its next access.
///
/// The host cannot free parts of huge pages: with such memory the balloon has no effect.
package final class BalloonDevice: VirtioDevice {
    /// Called when `givenUp` has changed.
    package var onChange: (() -> Void)? {
        get { changeHandler }
        set { changeHandler = newValue }
    }
    private var changeHandler: (() -> Void)?
    private var context: DeviceContext?
    private let inflation = PageReleaser(.pageNumbers, tag: Tag.inflation)
    private let reports = PageReleaser(.buffers, tag: Tag.report)
    private var statistics: BalloonStatistics?
    private var statisticsTime: UInt64 = 0
    /// The driver's chain for statistics; the device gives it back to ask for new ones.
    private var statisticsHead: UInt16?
    private var statisticsQueue: Virtqueue?
    /// The chain that a saved device held: its statistics are known.
    private var savedHead: UInt16?
    private var awaitingStatistics: [() -> Void] = []
    private var logLimit = LogLimit()
    /// The policy of a balloon that adjusts itself.
    private let policy: AutoBalloonPolicy?
    /// The least target, whatever the policy says.
    private var minimumTarget: UInt32 = 0
    /// Whether the policy waits for statistics.
    private var isSampling = false
    private var isTimerSet = false
    private var isPaused = false

    private enum Tag {
        static let inflation: UInt32 = 0
        static let report: UInt32 = 1
        static let statisticsTimer: UInt32 = 2
        static let sampleTimer: UInt32 = 3
    }

    /// How long a driver has to answer with statistics, in nanoseconds.
    private static let statisticsTimeout: UInt64 = 250_000_000

    /// - Parameters:
    ///   - deflatesOnOutOfMemory: whether the driver may take memory back by itself.
    ///   - reportsFreePages: whether the driver may report memory that it does not use.
    ///   - policy: how the balloon adjusts itself; nil if it does not.
    package init(
        id: String, deflatesOnOutOfMemory: Bool = false, reportsFreePages: Bool = false,
        policy: AutoBalloonPolicy? = nil
    ) {
        self.policy = policy
        var features: Features = [.splitRing, .balloonStatistics]
        if deflatesOnOutOfMemory { features.insert(.balloonDeflateOnOOM) }
        if reportsFreePages { features.insert(.balloonPageReporting) }
        super.init(
            id: id, type: .balloon, features: features,
            queueSizes: [UInt16](repeating: 256, count: BalloonQueue.count(features)),
            config: ConfigSpace(size: BalloonConfig.size))
    }

    /// Whether a driver is active that can give memory up.
    package var isActive: Bool { context != nil }

    /// Whether the host can free what the driver gives up; not if guest memory is of huge pages.
    package var hasEffect: Bool { context.map { $0.memory.discardAdvice != nil } ?? true }

    /// The pages of 4 KiB that the driver has given up, by its own account.
    package var givenUp: UInt32 { UInt32(truncatingIfNeeded: config.read(at: BalloonConfig.actual, size: 4)) }

    /// The pages of 4 KiB that the driver should give up.
    private var target: UInt32 { UInt32(truncatingIfNeeded: config.read(at: BalloonConfig.target, size: 4)) }

    /// Asks the driver to give up so many pages of 4 KiB in all. The policy can ask for more, but not for less.
    package func setTarget(_ pages: UInt32) {
        minimumTarget = pages
        announce(pages)
    }

    private func announce(_ pages: UInt32) {
        config.set(pages, at: BalloonConfig.target)
        context?.configChanged()
    }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        if !hasEffect {
            Log.warn(id, "the balloon has no effect: the host cannot free parts of the huge pages of guest memory")
        } else if policy != nil, !context.features.contains(.balloonStatistics) {
            Log.warn(id, "auto-balloon has no effect: the guest's driver reports no statistics")
        } else {
            setSampleTimer()
        }
    }

    override package func pause() { isPaused = true }

    override package func resume() { isPaused = false }

    override package var isIdle: Bool { inflation.inFlight == 0 && reports.inFlight == 0 }

    override package func cancelRequests() {
        inflation.stop()
        reports.stop()
        context?.reactor.cancel(tag: Tag.statisticsTimer, of: self)
        context?.reactor.cancel(tag: Tag.sampleTimer, of: self)
    }

    override package func reset() {
        if let statisticsHead { statisticsQueue?.putBack(statisticsHead) }
        context = nil
        isSampling = false
        isPaused = false
        statistics = nil
        statisticsHead = nil
        statisticsQueue = nil
        savedHead = nil
        answerStatistics()
        setGivenUp(0)
        // The policy knows nothing of the next driver's needs.
        if policy != nil { announce(minimumTarget) }
    }

    override package func writeConfig(at offset: Int, size: Int, value: UInt64) {
        if offset == BalloonConfig.actual, size == 4 { setGivenUp(UInt32(truncatingIfNeeded: value)) }
    }

    private func setGivenUp(_ pages: UInt32) {
        guard pages != givenUp else { return }
        config.set(pages, at: BalloonConfig.actual)
        changeHandler?()
    }

    // MARK: State

    override package var deviceState: DeviceState {
        .balloon(
            State(
                target: target, minimumTarget: minimumTarget, actual: givenUp,
                statistics: statistics.map { State.Statistics(values: $0.all, time: statisticsTime) },
                statisticsHead: statisticsHead ?? savedHead, isSampling: isSampling))
    }

    /// Takes over a saved state. Timers start again when the device is activated.
    override package func restore(_ state: DeviceState) throws(StateError) {
        guard case .balloon(let state) = state else { throw .otherType }
        let values = try state.statistics.map { saved throws(StateError) in
            guard let values = BalloonStatistics(saved.values) else {
                throw StateError("the statistics have \(saved.values.count) items")
            }
            return values
        }
        config.set(state.target, at: BalloonConfig.target)
        config.set(state.actual, at: BalloonConfig.actual)
        minimumTarget = state.minimumTarget
        statistics = values
        statisticsTime = state.statistics?.time ?? 0
        savedHead = state.statisticsHead
        isSampling = state.isSampling
    }

    // MARK: Requests

    override package func process(_ queue: Virtqueue) {
        guard let context else { return }
        switch BalloonQueue(queue.index, context.features) {
        case .inflate: take(queue, inflation, context)
        case .reporting: take(queue, reports, context)
        case .statistics: takeStatistics(queue)
        // The driver may use memory that it takes back without the device's help.
        case .deflate, nil: while let chain = queue.next() { queue.complete(chain.head, written: 0) }
        }
    }

    /// Begins with the next request of the queue, one in a turn.
    private func take(_ queue: Virtqueue, _ work: PageReleaser, _ context: DeviceContext) {
        guard !work.isBusy, let chain = queue.next() else { return }
        work.begin(chain, queue, context)
        advance(work, context)
    }

    private func advance(_ work: PageReleaser, _ context: DeviceContext) {
        guard let queue = work.queue else { return }
        if let problem = work.advance(context, for: self) {
            logLimit.write(.warn, id, "queue \(queue.index): part of a request is invalid: \(problem)")
        }
        if !work.isBusy { context.resume(queue) }
    }

    override package func ioCompleted(tag: UInt32, result: Int32) {
        switch tag {
        case inflation.tag: completed(inflation, result)
        case reports.tag: completed(reports, result)
        case Tag.sampleTimer: sampleTimerEnded(result)
        // The requests of a cancelled timer have their answer; later ones wait for a timer of their own.
        default: if result != -Errno.canceled.rawValue { answerStatistics() }
        }
    }

    private func completed(_ work: PageReleaser, _ result: Int32) {
        work.completed()
        if result < 0 {
            logLimit.write(.error, id, "the host cannot free memory: \(Errno(rawValue: -result))")
        }
        if let context { advance(work, context) }
    }

    // MARK: Statistics

    /// The guest's last statistics, and their time in nanoseconds since 1970.
    package var lastStatistics: (values: BalloonStatistics, time: UInt64)? {
        statistics.map { ($0, statisticsTime) }
    }

    /// Asks the driver for new statistics, and calls `done` when they have arrived or after a time-out; at once if the
    /// driver cannot be asked.
    package func refreshStatistics(_ done: @escaping () -> Void) {
        guard let context, askForStatistics(context) else { return done() }
        awaitingStatistics.append(done)
        context.reactor.submit(
            .timeout(at: Clock.monotonic &+ Self.statisticsTimeout), for: self, tag: Tag.statisticsTimer)
    }

    /// Asks the driver for new statistics; false if the device does not hold its chain.
    @discardableResult
    private func askForStatistics(_ context: DeviceContext) -> Bool {
        guard let head = statisticsHead, let queue = statisticsQueue else { return false }
        statisticsHead = nil
        queue.complete(head, written: 0)
        context.resume(queue)
        return true
    }

    /// Reads statistics and keeps their chain: its return asks the driver for more.
    private func takeStatistics(_ queue: Virtqueue) {
        guard statisticsHead == nil, let chain = queue.next() else { return }
        statisticsHead = chain.head
        statisticsQueue = queue
        let isKnown = savedHead == chain.head
        savedHead = nil
        guard !isKnown else { return }
        statistics = BalloonStatistics(from: chain.readable)
        statisticsTime = Clock.realTime
        context?.reactor.cancel(tag: Tag.statisticsTimer, of: self)
        if isSampling { adjust() }
        answerStatistics()
    }

    private func answerStatistics() {
        let waiting = awaitingStatistics
        awaitingStatistics = []
        for done in waiting { done() }
    }

    // MARK: Adjusting itself

    private func setSampleTimer() {
        guard let policy, let context, !isTimerSet else { return }
        isTimerSet = context.reactor.submit(
            .timeout(at: Clock.monotonic &+ policy.interval), for: self, tag: Tag.sampleTimer)
    }

    private func sampleTimerEnded(_ result: Int32) {
        isTimerSet = false
        guard let context else { return }
        if result != -Errno.canceled.rawValue, !isPaused {
            isSampling = true
            askForStatistics(context)
        }
        setSampleTimer()
    }

    /// Sets the target that the policy derives from new statistics.
    private func adjust() {
        isSampling = false
        guard let policy, let available = statistics?.available else { return }
        let next = max(minimumTarget, policy.target(after: target, givenUp: givenUp, available: available))
        guard next != target else { return }
        Log.debug(id, "auto-balloon: the target changes from \(target) to \(next) pages")
        announce(next)
    }
}
