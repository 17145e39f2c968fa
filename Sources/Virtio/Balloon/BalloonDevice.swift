import EventLoop
import Host
import Memory

/// A memory balloon (virtio 1.2 section 5.5): the driver gives up as much memory as it is told to, and the host gets
/// it back; what the driver takes back comes into being again when it is touched.
///
/// Memory of huge pages can't be freed in parts: then the balloon has no effect.
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
    /// The request for statistics that the driver waits for; giving it back asks for new ones.
    private var statisticsHead: UInt16?
    private var statisticsQueue: Virtqueue?
    private var awaitingStatistics: [() -> Void] = []
    private var logLimit = LogLimit()
    /// How it moves by itself, if it does.
    private let rule: AutoBalloonPolicy?
    /// How many pages to give up at least, whatever the rule says.
    private var leastTarget: UInt32 = 0
    /// The rule waits for new statistics.
    private var isLooking = false
    private var isTimerSet = false
    private var isPaused = false

    private enum Tag {
        static let inflation: UInt32 = 0
        static let report: UInt32 = 1
        static let statisticsTimer: UInt32 = 2
        static let lookTimer: UInt32 = 3
    }

    /// How long a driver has to answer with statistics, in nanoseconds.
    private static let statisticsPatience: UInt64 = 250_000_000

    /// - Parameters:
    ///   - deflatesOnOutOfMemory: whether the driver may take memory back by itself.
    ///   - reportsFreePages: whether the driver may report memory that it does not use.
    ///   - rule: how it moves by itself; if nil, it does not.
    package init(
        id: String, deflatesOnOutOfMemory: Bool = false, reportsFreePages: Bool = false, rule: AutoBalloonPolicy? = nil
    ) {
        self.rule = rule
        var features: Features = [.splitRing, .balloonStatistics]
        if deflatesOnOutOfMemory { features.insert(.balloonDeflateOnOOM) }
        if reportsFreePages { features.insert(.balloonPageReporting) }
        super.init(
            id: id, type: .balloon, features: features,
            queueSizes: [UInt16](repeating: 256, count: BalloonQueue.count(features)),
            config: ConfigSpace(size: BalloonConfig.size))
    }

    /// Whether a driver is there that can be told to give memory up.
    package var isActive: Bool { context != nil }

    /// Whether what the driver gives up comes back to the host; not if guest memory is of huge pages.
    package var hasEffect: Bool { context.map { $0.memory.discardAdvice != nil } ?? true }

    /// How many pages of 4 KiB the driver has given up, by its own account.
    package var givenUp: UInt32 { UInt32(truncatingIfNeeded: config.read(at: BalloonConfig.actual, size: 4)) }

    /// How many pages of 4 KiB the driver is to give up in all.
    private var target: UInt32 { UInt32(truncatingIfNeeded: config.read(at: BalloonConfig.target, size: 4)) }

    /// Tells the driver how many pages of 4 KiB to give up in all. By its rule a balloon takes more, but not less.
    package func setTarget(_ pages: UInt32) {
        leastTarget = pages
        tell(pages)
    }

    private func tell(_ pages: UInt32) {
        config.set(pages, at: BalloonConfig.target)
        context?.configChanged()
    }

    // MARK: Life

    override package func activate(_ context: DeviceContext) {
        self.context = context
        if !hasEffect {
            Log.warn(id, "the balloon has no effect: guest memory is of huge pages, which can't be freed in parts")
        } else if rule != nil, !context.features.contains(.balloonStatistics) {
            Log.warn(id, "auto-balloon has no effect: the guest's driver tells no statistics")
        } else {
            setLookTimer()
        }
    }

    override package func pause() { isPaused = true }

    override package func resume() { isPaused = false }

    override package var isIdle: Bool { inflation.inFlight == 0 && reports.inFlight == 0 }

    override package func cancelRequests() {
        inflation.stop()
        reports.stop()
        context?.reactor.cancel(tag: Tag.statisticsTimer, of: self)
        context?.reactor.cancel(tag: Tag.lookTimer, of: self)
    }

    override package func reset() {
        context = nil
        isLooking = false
        isPaused = false
        statistics = nil
        statisticsHead = nil
        statisticsQueue = nil
        answerStatistics()
        setGivenUp(0)
        // What another driver needs is not known.
        if rule != nil { tell(leastTarget) }
    }

    override package func writeConfig(at offset: Int, size: Int, value: UInt64) {
        if offset == BalloonConfig.actual, size == 4 { setGivenUp(UInt32(truncatingIfNeeded: value)) }
    }

    private func setGivenUp(_ pages: UInt32) {
        guard pages != givenUp else { return }
        config.set(pages, at: BalloonConfig.actual)
        changeHandler?()
    }

    // MARK: Requests

    override package func process(_ queue: Virtqueue) {
        guard let context else { return }
        switch BalloonQueue(queue.index, context.features) {
        case .inflate: take(queue, inflation, context)
        case .reporting: take(queue, reports, context)
        case .statistics: takeStatistics(queue)
        // Memory that was given up is as any other: there is nothing to be done for its return.
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
            logLimit.write(.warn, id, "queue \(queue.index): a request is wrong in part: \(problem)")
        }
        if !work.isBusy { context.resume(queue) }
    }

    override package func ioCompleted(tag: UInt32, result: Int32) {
        switch tag {
        case inflation.tag: completed(inflation, result)
        case reports.tag: completed(reports, result)
        case Tag.lookTimer: lookTimerEnded(result)
        // One that was cancelled had its answer, and who asks by now waits for another.
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

    /// What the driver has told last of the guest's memory, and when, in nanoseconds since 1970.
    package var lastStatistics: (values: BalloonStatistics, time: UInt64)? {
        statistics.map { ($0, statisticsTime) }
    }

    /// Asks the driver for new statistics, and calls `done` when they are there or when it takes too long; at once if
    /// it cannot be asked.
    package func refreshStatistics(_ done: @escaping () -> Void) {
        guard let context, askForStatistics(context) else { return done() }
        awaitingStatistics.append(done)
        context.reactor.submit(
            .timeout(at: Clock.monotonic &+ Self.statisticsPatience), for: self, tag: Tag.statisticsTimer)
    }

    /// Asks the driver for new statistics; false if it has been asked already, or cannot be.
    @discardableResult
    private func askForStatistics(_ context: DeviceContext) -> Bool {
        guard let head = statisticsHead, let queue = statisticsQueue else { return false }
        statisticsHead = nil
        queue.complete(head, written: 0)
        context.resume(queue)
        return true
    }

    /// Keeps the driver's request when its contents are read: it is the way to ask for more.
    private func takeStatistics(_ queue: Virtqueue) {
        guard statisticsHead == nil, let chain = queue.next() else { return }
        statistics = BalloonStatistics(from: chain.readable)
        statisticsTime = Clock.realTime
        statisticsHead = chain.head
        statisticsQueue = queue
        context?.reactor.cancel(tag: Tag.statisticsTimer, of: self)
        if isLooking { move() }
        answerStatistics()
    }

    private func answerStatistics() {
        let waiting = awaitingStatistics
        awaitingStatistics = []
        for done in waiting { done() }
    }

    // MARK: Moving by itself

    private func setLookTimer() {
        guard let rule, let context, !isTimerSet else { return }
        isTimerSet = context.reactor.submit(
            .timeout(at: Clock.monotonic &+ rule.interval), for: self, tag: Tag.lookTimer)
    }

    private func lookTimerEnded(_ result: Int32) {
        isTimerSet = false
        guard let context else { return }
        if result != -Errno.canceled.rawValue, !isPaused {
            isLooking = true
            askForStatistics(context)
        }
        setLookTimer()
    }

    /// Follows the statistics that have come.
    private func move() {
        isLooking = false
        guard let rule, let available = statistics?.available else { return }
        let next = max(leastTarget, rule.target(after: target, givenUp: givenUp, available: available))
        guard next != target else { return }
        Log.debug(id, "auto-balloon: the guest is to give up \(next) pages, after \(target)")
        tell(next)
    }
}
