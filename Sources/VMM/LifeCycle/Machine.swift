import Bus
import Control
import EventLoop
import Host
import Hypervisor
import Memory
import Options
import Sandbox

/// A machine: what it is made of, and how it runs, pauses and ends. It belongs to the main reactor.
final class Machine {
    /// Where the machine is in its life.
    enum State: Equatable {
        /// Built; no vCPU has entered the guest.
        case created
        case running
        case pausing
        case paused
        case ending
    }

    let options: LaunchOptions
    let reactor: Reactor
    private(set) var parts: Parts
    /// What takes longer than a turn, one after another.
    let operations = SerialQueue()
    /// What is there to be plugged in.
    let backends = UnattachedBackends()
    private(set) var state = State.created
    private(set) var server: QMPServer?
    private var endCause: EndCause?
    /// Whether the guest has told that its kernel has panicked.
    private(set) var hasPanicked = false
    private var hasCrashKernel = false

    /// What a machine is made of.
    struct Parts {
        let home: ReactorDevices
        var iothreads: [IOThread]
        /// Threads for iothreads to come, as none can be started once system calls are filtered.
        var spareIOThreads: [IOThread]
        /// Nil if system calls are not filtered.
        let filters: SeccompFilters?
        let slots: SlotTable
        /// Whether disks and network cards may be plugged in.
        let takesDevices: Bool
        let chardevs: Chardevs
        let processors: VCPUSet
        let board: BoardDevices
        let memory: GuestMemory
        let bus: SystemBus
        let layout: BoardLayout
        let events: EventSink
        /// KVM's side of it, kept as long as anything uses it.
        let hypervisor: VirtualMachine
    }

    init(_ options: LaunchOptions, reactor: Reactor, parts: Parts) {
        self.options = options
        self.reactor = reactor
        self.parts = parts
        parts.processors.onEnd = { [weak self] index, exit in self?.processorEnded(index, exit) }
        for case let balloon as Balloon in parts.slots.devices {
            balloon.onChange { [weak self, weak balloon] in
                if let balloon { self?.post(.balloonChanged(actual: balloon.actual)) }
            }
        }
    }

    /// Serves QMP from now on.
    func serve(_ listeners: consuming [ListenerBox]) {
        let server = QMPServer(reactor: reactor, machine: self, version: QMPVersion(package: "apus-\(Version.number)"))
        self.server = server
        for listener in listeners {
            if let listener = listener.take() { server.listen(on: listener) }
        }
    }

    /// Tells QMP's clients of an event.
    func post(_ event: QMPEvent) { server?.post(event) }

    /// Notes which iothreads there are now, and which threads are left for others.
    func setIOThreads(_ iothreads: [IOThread], spare: [IOThread]) {
        parts.iothreads = iothreads
        parts.spareIOThreads = spare
    }

    // MARK: Running and pausing

    /// Lets the vCPUs enter the guest, for the first time or after a pause.
    func run() throws(MachineError) {
        for device in parts.slots.devices { try device.prepareToRun() }
        state = .running
        parts.home.resume()
        for iothread in parts.iothreads {
            iothread.handle.send { [home = iothread.home] reactor in home.value(on: reactor)?.resume() }
        }
        parts.processors.resume()
    }

    /// Stops the vCPUs, then the devices, and answers when nothing moves any more.
    func pause(_ reply: QMPReply) {
        operations.add { [self] done in
            switch state {
            case .paused, .created:
                reply.succeed()
                done()
            case .ending:
                reply.fail(QMPError("The machine is ending"))
                done()
            case .running, .pausing:
                state = .pausing
                parts.processors.pause { [self] in
                    drainDevices { [self] in
                        notePaused(reply)
                        done()
                    }
                }
            }
        }
    }

    private func notePaused(_ reply: QMPReply) {
        guard state == .pausing else { return reply.fail(QMPError("The machine is ending")) }
        state = .paused
        Log.info("machine", "paused")
        server?.post(.stop)
        reply.succeed()
    }

    /// Calls `done` when no device of any reactor has work in flight.
    private func drainDevices(_ done: @escaping () -> Void) {
        let countdown = Countdown(parts.iothreads.count + 1, done)
        parts.home.pause { countdown.step() }
        let answer = ReactorBound(countdown, to: reactor)
        let main = reactor.handle
        for iothread in parts.iothreads {
            iothread.handle.send { [home = iothread.home] reactor in
                home.value(on: reactor)?.pause {
                    main.send { reactor in answer.value(on: reactor)?.step() }
                }
            }
        }
    }

    /// Lets a paused machine go on.
    func resume(_ reply: QMPReply) {
        operations.add { [self] done in
            defer { done() }
            switch state {
            case .running:
                reply.succeed()
            case .ending, .pausing:
                reply.fail(QMPError("The machine is ending"))
            case .created, .paused:
                do throws(MachineError) {
                    try run()
                } catch {
                    return reply.fail(QMPError("\(error)"))
                }
                Log.info("machine", "running")
                server?.post(.resume)
                reply.succeed()
            }
        }
    }

    // MARK: Ending

    /// What a device of the board asks for.
    func act(_ action: BusAction) {
        switch action {
        case .none: break
        case .powerOff: end(.guestPowerOff)
        case .reset: end(.guestReset)
        case .panicked: panicked()
        case .crashLoaded: crashLoaded()
        }
    }

    /// The guest goes on: it may write a dump or reset itself, and its owner decides about it otherwise. It is told
    /// once, so that a guest that says it again and again costs clients nothing.
    private func panicked() {
        guard !hasPanicked, state != .ending else { return }
        hasPanicked = true
        Log.warn("machine", "the guest's kernel has panicked")
        server?.post(.guestPanicked)
    }

    private func crashLoaded() {
        guard !hasCrashKernel, state != .ending else { return }
        hasCrashKernel = true
        Log.warn("machine", "the guest's kernel has panicked, and its crash kernel takes over")
        server?.post(.guestCrashLoaded)
    }

    private func processorEnded(_ index: Int, _ exit: VCPUExit) {
        switch exit {
        case .shutdown: end(.guestTripleFault)
        case .systemEvent(.shutdown): end(.guestPowerOff)
        case .systemEvent(.reset): end(.guestReset)
        default: end(.processorFailure("vCPU \(index) cannot go on: \(exit)"))
        }
    }

    /// Ends the machine in good order; the first cause counts.
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
        for event in cause.events { server?.post(event) }
        // The answer to the command that ends the machine goes out before the service closes.
        let countdown = Countdown(2) { [reactor] in reactor.stop() }
        parts.processors.stop { [self] in drainDevices { countdown.step() } }
        if let server {
            server.close(within: Self.farewell) { countdown.step() }
        } else {
            countdown.step()
        }
        Alarm(reactor, at: Clock.monotonic &+ Self.patience) { [reactor] in
            Log.warn("machine", "some I/O did not end in time; leaving it")
            reactor.stop()
        }
    }

    /// How long clients have to take what they are owed, in nanoseconds.
    private static let farewell: UInt64 = 500_000_000
    /// How long the end may take, in nanoseconds, before it comes without waiting for I/O that hangs.
    private static let patience: UInt64 = 10_000_000_000

    /// Leaves the host as it was found, when the start has failed.
    func abandon() {
        server?.abandon()
        for device in parts.slots.devices { device.finish() }
        parts.chardevs.finish(within: 0)
    }

    /// After the reactor's last turn: waits for the threads, and answers with the exit status.
    func finish() -> Int32 {
        parts.processors.join()
        parts.board.finish()
        for device in parts.slots.devices { device.finish() }
        parts.chardevs.finish(within: Self.farewell)
        for iothread in parts.iothreads + parts.spareIOThreads { iothread.stop() }
        return endCause?.status ?? 0
    }
}
