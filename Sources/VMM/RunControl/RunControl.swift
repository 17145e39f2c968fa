import Bus
import Control
import EventLoop
import Host
import Hypervisor

/// The vCPUs, as run control drives them on the main reactor.
protocol VCPUControl: AnyObject {
    /// Makes all vCPUs leave the guest, and calls `done` when none is in it.
    func pause(_ done: @escaping () -> Void)
    /// Lets all vCPUs enter the guest.
    func resume()
    /// Ends all vCPUs, and calls `done` when they have ended; a pause that is under way is done by then, too.
    func stop(_ done: @escaping () -> Void)
}

/// The devices of all reactors, as run control drives them on the main reactor.
protocol DeviceControl: AnyObject {
    /// Readies the host's objects for the guest, before the first start and each one after a pause.
    ///
    /// - Throws: why the guest must not run.
    func prepareToRun() throws(MachineError)
    /// Lets the devices take requests.
    func resume()
    /// Lets no device take a request, and calls `done` when none has one in flight.
    func drain(_ done: @escaping () -> Void)
}

/// Runs, pauses and ends the guest, and tells QMP's clients of it. It belongs to the main reactor.
///
///     created ──▶ running ──▶ pausing ──▶ paused
///                   ▲                       │
///                   └───────────────────────┘        any of them ──▶ ending
final class RunControl {
    /// Where the machine is.
    enum State: Equatable {
        /// No vCPU has entered the guest.
        case created
        case running
        /// The vCPUs leave the guest, and devices finish their requests.
        case pausing
        case paused
        /// For good.
        case ending
    }

    /// How long the end may take, in nanoseconds.
    struct Limits {
        /// For clients to take their answers.
        var clients: UInt64 = 500_000_000
        /// For everything; then requests that hang are left.
        var all: UInt64 = 10_000_000_000
    }

    /// Gets why a command failed, or nil when it has succeeded; called once, at once or in a later turn.
    typealias Completion = (QMPError?) -> Void

    private(set) var state = State.created
    /// Why the machine ends; nil until it does.
    private(set) var endCause: EndCause?
    /// Whether the guest has told that its kernel has panicked.
    private(set) var hasPanicked = false
    private var hasCrashKernel = false
    private let reactor: Reactor
    private let operations: SerialQueue
    private let events: EventSink
    private let limits: Limits
    private var vcpus: (any VCPUControl)?
    private weak var devices: (any DeviceControl)?
    private var pauseCompletion: Completion?
    private var endAlarm: Alarm?
    private var endsAwaited: Ends = []

    /// What the end of the machine waits for.
    private struct Ends: OptionSet {
        let rawValue: UInt8

        /// The vCPUs, then the devices.
        static let guest = Ends(rawValue: 1 << 0)
        static let clients = Ends(rawValue: 1 << 1)
    }

    /// - Parameters:
    ///   - reactor: the main one, which the end stops.
    ///   - operations: runs everything that must not meet a pause.
    init(_ reactor: Reactor, operations: SerialQueue, events: EventSink, limits: Limits = Limits()) {
        self.reactor = reactor
        self.operations = operations
        self.events = events
        self.limits = limits
    }

    /// Takes over what there is to run. The owner of `devices` keeps them.
    func connect(_ vcpus: any VCPUControl, _ devices: any DeviceControl) {
        self.vcpus = vcpus
        self.devices = devices
    }

    /// The state in QMP's words.
    var status: RunStatus {
        switch state {
        case .running, .pausing: hasPanicked ? .guestPanicked : .running
        case .paused, .created: .paused
        case .ending: .other
        }
    }

    /// Whether the guest runs, as clients see it.
    var isRunning: Bool { state == .running || state == .pausing }

    private func post(_ event: QMPEvent) { events.clients(on: reactor)?.post(event) }

    // MARK: Running and pausing

    /// Lets the vCPUs enter the guest, for the first time or after a pause.
    func start() throws(MachineError) {
        try devices?.prepareToRun()
        state = .running
        devices?.resume()
        vcpus?.resume()
    }

    /// Stops the vCPUs, then the devices, and completes when none has anything in flight.
    func pause(_ completion: @escaping Completion) {
        operations.add { [self] done in
            switch state {
            case .paused, .created:
                completion(nil)
                done()
            case .ending:
                completion(.machineEnds)
                done()
            case .running, .pausing:
                state = .pausing
                pauseCompletion = completion
                stopVCPUs { [self] in
                    drain { [self] in
                        notePaused()
                        done()
                    }
                }
            }
        }
    }

    private func stopVCPUs(_ done: @escaping () -> Void) {
        if let vcpus { vcpus.pause(done) } else { done() }
    }

    private func drain(_ done: @escaping () -> Void) {
        if let devices { devices.drain(done) } else { done() }
    }

    private func notePaused() {
        guard state == .pausing else { return }
        state = .paused
        Log.info("machine", "paused")
        post(.stop)
        completePause(nil)
    }

    private func completePause(_ error: QMPError?) {
        let completion = pauseCompletion.take()
        completion?(error)
    }

    /// Lets the vCPUs run again. A pause that is under way comes to its end before.
    func resume(_ completion: @escaping Completion) {
        operations.add { [self] done in
            defer { done() }
            switch state {
            case .running:
                completion(nil)
            case .ending:
                completion(.machineEnds)
            case .created, .pausing, .paused:
                do throws(MachineError) {
                    try start()
                } catch {
                    return completion(QMPError("\(error)"))
                }
                Log.info("machine", "running")
                post(.resume)
                completion(nil)
            }
        }
    }

    /// Calls `done` when no vCPU is in the guest, for an operation of the queue, which resumes them at its end.
    func pauseVCPUs(_ done: @escaping () -> Void) {
        if state == .running { stopVCPUs(done) } else { done() }
    }

    /// Lets the vCPUs run after `pauseVCPUs`, if they ran before.
    func resumeVCPUs() {
        if state == .running { vcpus?.resume() }
    }

    // MARK: What the guest asks for

    /// Does what a device of the board asks for.
    func act(_ action: BusAction) {
        switch action {
        case .none: break
        case .powerOff: end(.guestPowerOff)
        case .reset: end(.guestReset)
        case .panicked: notePanic()
        case .crashLoaded: noteCrashKernel()
        }
    }

    /// The guest runs on: it may write a dump or reset itself, and otherwise its owner decides. Clients are told once, so
    /// that a guest that repeats it costs them nothing.
    private func notePanic() {
        guard !hasPanicked, state != .ending else { return }
        hasPanicked = true
        Log.warn("machine", "the guest's kernel has panicked")
        post(.guestPanicked)
    }

    private func noteCrashKernel() {
        guard !hasCrashKernel, state != .ending else { return }
        hasCrashKernel = true
        Log.warn("machine", "the guest's kernel has panicked, and its crash kernel takes over")
        post(.guestCrashLoaded)
    }

    /// A vCPU has left the guest for good.
    func vcpuEnded(_ index: Int, _ exit: VCPUExit) {
        switch exit {
        case .shutdown: end(.guestTripleFault)
        case .systemEvent(.shutdown): end(.guestPowerOff)
        case .systemEvent(.reset): end(.guestReset)
        default: end(.processorFailure("vCPU \(index) cannot go on: \(exit)"))
        }
    }

    // MARK: Ending

    /// Ends the machine: stops vCPUs and devices, closes the clients' service, then stops the reactor. The first cause
    /// counts.
    func end(_ cause: EndCause) {
        guard endCause == nil else { return }
        let cause = hasPanicked ? cause.afterPanic : cause
        endCause = cause
        state = .ending
        if cause.status == 0 {
            Log.info("machine", cause.text)
        } else {
            Log.error("machine", cause.text)
        }
        let clients = events.clients(on: reactor)
        for event in cause.events { clients?.post(event) }
        // Answers go out before the service closes, that to the command which ends the machine among them.
        completePause(.machineEnds)
        endAlarm = Alarm(reactor, at: Clock.monotonic &+ limits.all) { [reactor] in
            Log.warn("machine", "some I/O did not end in time; leaving it")
            reactor.stop()
        }
        endsAwaited = [.guest, .clients]
        endVCPUs { [self] in
            // A lost ring completes nothing.
            if case .ringFailure = cause { noteEnd(of: .guest) } else { drain { [self] in noteEnd(of: .guest) } }
        }
        if reactor.failure != nil {
            clients?.closeWithoutRing()
            noteEnd(of: .clients)
        } else if let clients {
            clients.close(within: limits.clients) { [self] in noteEnd(of: .clients) }
        } else {
            noteEnd(of: .clients)
        }
    }

    /// Ends the machine, whose main reactor or one of whose iothreads has lost its ring.
    func lose(_ failure: RingFailure) {
        let cause = EndCause.ringFailure("\(failure)")
        guard state == .ending else { return end(cause) }
        // An end is under way, and what it waits for may never complete.
        endCause = cause
        Log.error("machine", cause.text)
        endVCPUs { [self] in noteEnd(of: .guest) }
        if reactor.failure != nil {
            events.clients(on: reactor)?.closeWithoutRing()
            noteEnd(of: .clients)
        }
    }

    private func endVCPUs(_ done: @escaping () -> Void) {
        if let vcpus { vcpus.stop(done) } else { done() }
    }

    private func noteEnd(of part: Ends) {
        endsAwaited.remove(part)
        guard endsAwaited.isEmpty else { return }
        if let endAlarm { reactor.retire(endAlarm) }
        reactor.stop()
    }
}

extension QMPError {
    /// The machine ends, and the command has not been carried out.
    static let machineEnds = QMPError("The machine is ending")
}
