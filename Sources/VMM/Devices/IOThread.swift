import Bus
import EventLoop
import Host
import Synchronization

/// `-object iothread`: a thread with a reactor of its own, which carries the object's id as its name. A spare one waits
/// for an object to become. It belongs to the main reactor.
final class IOThread {
    private(set) var id: String
    /// What errors about its start call it.
    let place: String
    let handle: ReactorHandle
    /// What lives on the thread.
    let home: ReactorBound<ReactorDevices>
    /// The kernel's number of the thread.
    let threadID: Int32
    private var thread: HostThread?

    /// What a spare one is called.
    static let spareName = "spare"

    /// Starts the thread and waits until its reactor is there.
    convenience init(id: String, _ bus: SystemBus, _ layout: BoardLayout) throws(MachineError) {
        try self.init(id: id, bus, layout, place: "-object iothread,id=\(id)")
    }

    /// A spare one.
    static func spare(_ bus: SystemBus, _ layout: BoardLayout) throws(MachineError) -> IOThread {
        try IOThread(id: spareName, bus, layout, place: "-machine spare-iothreads")
    }

    private init(id: String, _ bus: SystemBus, _ layout: BoardLayout, place: String) throws(MachineError) {
        self.id = id
        self.place = place
        let start = Answer<Result<Running, Errno>>()
        do {
            thread = try HostThread(name: id) { Self.run(name: id, bus, layout, start) }
        } catch {
            throw MachineError(place, "cannot start its thread: \(error)")
        }
        switch start.wait() {
        case .success(let running):
            handle = running.handle
            home = running.home
            threadID = running.threadID
        case .failure(let error):
            throw MachineError(place, "cannot make its io_uring: \(error)")
        }
    }

    /// Runs `body` on the thread and waits for its result; only while the machine is being built.
    func perform<T: Sendable>(
        _ body: @escaping @Sendable (ReactorDevices) throws(MachineError) -> T
    ) throws(MachineError) -> T {
        let answer = Answer<Result<T, MachineError>>()
        handle.send { [home] reactor in
            guard let home = home.value(on: reactor) else { return }
            do throws(MachineError) {
                answer.give(.success(try body(home)))
            } catch {
                answer.give(.failure(error))
            }
        }
        return try answer.wait().get()
    }

    /// Gives it another id, and calls `then` when its thread has that name too.
    ///
    /// - Parameter main: the reactor that asks.
    func rename(_ id: String, on main: Reactor, then: @escaping () -> Void) {
        self.id = id
        let answer = ReactorBound(then, to: main)
        let main = main.handle
        handle.send { _ in
            HostThread.nameCurrent(id)
            main.send { reactor in answer.value(on: reactor)?() }
        }
    }

    /// Ends the thread and waits for it; its devices must be at rest.
    func stop() {
        handle.send { $0.stop() }
        thread.take()?.join()
    }

    private struct Running: Sendable {
        let handle: ReactorHandle
        let home: ReactorBound<ReactorDevices>
        let threadID: Int32
    }

    private static func run(
        name: String, _ bus: SystemBus, _ layout: BoardLayout, _ start: Answer<Result<Running, Errno>>
    ) {
        do throws(Errno) {
            let reactor = try Reactor(name: name, operations: .ofDisksAndCards)
            let home = ReactorDevices(reactor, bus, layout, onAction: { _ in })
            start.give(
                .success(
                    Running(
                        handle: reactor.handle, home: ReactorBound(home, to: reactor), threadID: HostThread.currentID)))
            reactor.run()
        } catch {
            start.give(.failure(error))
        }
    }
}

/// A value that one thread gives and another waits for.
private final class Answer<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let isGiven = Futex(0)

    func give(_ value: Value) {
        self.value.withLock { $0 = value }
        isGiven.store(1)
        isGiven.wake()
    }

    func wait() -> Value {
        while true {
            if let value = value.withLock({ $0 }) { return value }
            isGiven.wait(while: 0)
        }
    }
}
