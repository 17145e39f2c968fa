import EventLoop
import Host

/// Makes what a reactor keeps for its devices, on its thread.
typealias ReactorDevicesMaker = @Sendable (Reactor) -> ReactorDevices

/// `-object iothread`: a thread with a reactor of its own, which carries the object's id as its name. A spare one waits
/// for an object to become. It belongs to the main reactor.
final class IOThread {
    private(set) var id: String
    /// The subject of errors about it.
    let subject: String
    let handle: ReactorHandle
    /// The devices that live on the thread.
    let devices: ReactorBound<ReactorDevices>
    /// The kernel's number of the thread.
    let threadID: Int32
    private let thread: Box<HostThread>
    private let progress: Progress

    /// What a spare one is called.
    static let spareName = "spare"

    private init(_ start: Start, _ running: Running) {
        id = start.id
        subject = start.subject
        handle = running.handle
        devices = running.devices
        threadID = running.threadID
        thread = start.thread
        progress = start.progress
    }

    /// Runs `body` on the thread and waits for its result; only before the guest runs.
    func perform<T: Sendable>(
        _ body: @escaping @Sendable (ReactorDevices) throws(MachineError) -> T
    ) throws(MachineError) -> T {
        let answer = SendOnce<Result<T, MachineError>>()
        handle.send { [devices] reactor in
            guard let devices = devices.value(on: reactor) else { return }
            answer.put(Result { () throws(MachineError) in try body(devices) })
        }
        guard let result = answer.wait() else { throw MachineError(subject, "its thread has given no answer") }
        return try result.get()
    }

    /// Gives it another id, and calls `then` on the main reactor when its thread has that name too.
    func rename(_ id: String, on main: Reactor, then: @escaping () -> Void) {
        self.id = id
        let then = ReactorBound(then, to: main)
        let main = main.handle
        handle.send { _ in
            HostThread.nameCurrent(id)
            main.send { reactor in then.value(on: reactor)?() }
        }
    }

    /// Ends the thread, and calls `then` on the main reactor when it is gone; its devices must be at rest.
    func stop(then: @escaping () -> Void) {
        progress.onEnd = { [thread] in
            // It has nothing left to do but to exit.
            thread.take()?.join()
            then()
        }
        handle.send { $0.stop() }
    }

    /// Ends the thread and waits for it; only when the guest is over.
    func stopAndJoin() {
        handle.send { $0.stop() }
        thread.take()?.join()
    }

    // MARK: Starting

    /// A thread whose reactor is being made.
    final class Start {
        let id: String
        fileprivate let subject: String
        fileprivate let thread: Box<HostThread>
        fileprivate let progress: Progress
        private let result: SendOnce<Result<Running, Errno>>

        /// Starts the thread, and waits for nothing.
        ///
        /// - Parameters:
        ///   - subject: of errors about it.
        ///   - main: the reactor that the iothread belongs to.
        ///   - makeDevices: called on the thread.
        init(
            _ id: String, subject: String, main: Reactor, _ makeDevices: @escaping ReactorDevicesMaker
        ) throws(MachineError) {
            self.id = id
            self.subject = subject
            let (result, progress) = (SendOnce<Result<Running, Errno>>(), Progress())
            let reporter = Reporter(main.handle, ReactorBound(progress, to: main))
            (self.result, self.progress) = (result, progress)
            do {
                thread = Box(
                    try HostThread(name: id) {
                        IOThread.run(id, makeDevices, result, reporter)
                        reporter.report(.end)
                    })
            } catch {
                throw MachineError(subject, "cannot start its thread: \(error)")
            }
        }

        /// Calls `then` on the main reactor, in a later turn, when `iothread` need not wait.
        func whenReady(_ then: @escaping () -> Void) { progress.onReady = then }

        /// Waits for the reactor; the iothread.
        func iothread() throws(MachineError) -> IOThread {
            switch result.wait() {
            case .success(let running)?: return IOThread(self, running)
            case .failure(let error)?:
                thread.take()?.join()
                throw MachineError(subject, "cannot make its io_uring: \(error)")
            case nil: throw MachineError(subject, "is there already")
            }
        }
    }

    private struct Running: Sendable {
        let handle: ReactorHandle
        let devices: ReactorBound<ReactorDevices>
        let threadID: Int32
    }

    /// What the main reactor does when the thread has come so far; its own.
    fileprivate final class Progress {
        var onReady: (() -> Void)?
        var onEnd: (() -> Void)?

        /// How far it has come.
        enum Step {
            /// Its reactor is there, or could not be made.
            case ready
            case end
        }

        /// Does what waits for `step`, once.
        func note(_ step: Step) {
            let then = step == .ready ? onReady.take() : onEnd.take()
            then?()
        }
    }

    /// Reports the thread's steps to the main reactor.
    private struct Reporter: Sendable {
        private let main: ReactorHandle
        private let progress: ReactorBound<Progress>

        init(_ main: ReactorHandle, _ progress: ReactorBound<Progress>) {
            self.main = main
            self.progress = progress
        }

        func report(_ step: Progress.Step) {
            main.send { [progress] reactor in progress.value(on: reactor)?.note(step) }
        }
    }

    private static func run(
        _ name: String, _ makeDevices: ReactorDevicesMaker, _ result: SendOnce<Result<Running, Errno>>,
        _ reporter: Reporter
    ) {
        do throws(Errno) {
            let reactor = try Reactor(name: name, operations: .ofDisksAndCards)
            let devices = makeDevices(reactor)
            result.put(
                .success(
                    Running(
                        handle: reactor.handle, devices: ReactorBound(devices, to: reactor),
                        threadID: HostThread.currentID)))
            reporter.report(.ready)
            reactor.run()
        } catch {
            result.put(.failure(error))
            reporter.report(.ready)
        }
    }
}
