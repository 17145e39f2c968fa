import Control
import EventLoop
import Options
import Sandbox

/// The reactors that devices live on: the main one, and those of `-object iothread`. It belongs to the main reactor.
final class IOThreads {
    /// The devices of the main reactor.
    let main: ReactorDevices
    /// The iothreads that devices can be given to.
    private(set) var running: [IOThread] = []
    /// Threads for iothreads to come, as none can be started once system calls are filtered.
    private var spare: [IOThread] = []
    private var starting: [IOThread.Start] = []
    private var stopping: [IOThread] = []
    private let keepsSpare: Bool
    private let makeDevices: ReactorDevicesMaker
    private let filters: SeccompFilters?
    private let operations: SerialQueue

    /// - Parameters:
    ///   - main: the devices of the main reactor.
    ///   - keepsSpare: whether a thread without an object is kept for another one.
    ///   - filters: nil if system calls are not filtered.
    ///   - operations: what is under way with devices.
    ///   - makeDevices: called on each thread before devices come to it.
    init(
        _ main: ReactorDevices, keepsSpare: Bool, filters: SeccompFilters?, operations: SerialQueue,
        _ makeDevices: @escaping ReactorDevicesMaker
    ) {
        self.main = main
        self.keepsSpare = keepsSpare
        self.filters = filters
        self.operations = operations
        self.makeDevices = makeDevices
    }

    // MARK: Lookup

    /// The ids of the iothreads, those that are about to be there among them.
    var ids: [String] { running.map(\.id) + starting.map(\.id) }

    /// The iothread of this id; nil if devices cannot be given to one.
    subscript(id: String) -> IOThread? { running.first { $0.id == id } }

    /// Where a device of this iothread lives, or of none; nil if there is no such iothread.
    func placement(of id: String?) -> DevicePlacement? {
        guard let id else { return DevicePlacement(main) }
        return self[id].map { DevicePlacement($0, main: main.reactor) }
    }

    /// Runs `body` on every reactor. What it hands to its second argument, once on each, comes to `then` together.
    func collect<Result>(
        _ body: @escaping @Sendable (ReactorDevices, @escaping (Result) -> Void) -> Void,
        then: @escaping ([Result]) -> Void
    ) {
        let placements = [DevicePlacement(main)] + running.map { DevicePlacement($0, main: main.reactor) }
        let join = Join(placements.count, then)
        for placement in placements { placement.run(body) { join.add($0) } }
    }

    // MARK: Before the guest runs

    /// Starts the iothreads of the command line and so many spare ones, and waits until their reactors are there.
    func start(_ ids: [String], spare count: Int) throws(MachineError) {
        var starts: [IOThread.Start] = []
        for id in ids { starts.append(try start(id)) }
        for _ in 0..<count {
            starts.append(
                try IOThread.Start(
                    IOThread.spareName, subject: "-machine spare-iothreads", main: main.reactor, makeDevices))
        }
        for (index, start) in starts.enumerated() {
            let iothread = try start.iothread()
            if index < ids.count { running.append(iothread) } else { spare.append(iothread) }
        }
    }

    private func start(_ id: String) throws(MachineError) -> IOThread.Start {
        try IOThread.Start(id, subject: "-object iothread,id=\(id)", main: main.reactor, makeDevices)
    }

    /// Leaves the threads what they need to serve their devices, now that these are made.
    func filter() throws(MachineError) {
        guard let filters else { return }
        for iothread in running + spare {
            try iothread.perform { [subject = iothread.subject] _ throws(MachineError) in
                do {
                    try filters.install(.iothread)
                } catch {
                    throw MachineError(subject, "cannot filter its system calls: \(error)")
                }
            }
        }
    }

    // MARK: While the guest runs

    /// `object-add`: starts an iothread, or makes one of a spare thread.
    func add(_ spec: ObjectSpec, beside inventory: Inventory, _ completion: @escaping RunControl.Completion) {
        do throws(QMPError) {
            guard case .ioThread(let spec) = spec else {
                throw QMPError("object-add: only an iothread can be added while the machine runs")
            }
            try inventory.checkIOThread(spec.id, in: "object-add")
            if filters == nil {
                try startLater(spec.id, completion)
            } else {
                try takeSpare(spec.id, completion)
            }
        } catch {
            completion(error)
        }
    }

    private func startLater(_ id: String, _ completion: @escaping RunControl.Completion) throws(QMPError) {
        let start: IOThread.Start
        do throws(MachineError) {
            start = try self.start(id)
        } catch {
            throw QMPError("object-add: \(error)")
        }
        starting.append(start)
        start.whenReady { [self] in
            starting.removeAll { $0 === start }
            do throws(MachineError) {
                running.append(try start.iothread())
                completion(nil)
            } catch {
                completion(QMPError("object-add: \(error)"))
            }
        }
    }

    /// A filtered process cannot start a thread, so one that waits becomes the iothread.
    private func takeSpare(_ id: String, _ completion: @escaping RunControl.Completion) throws(QMPError) {
        guard let iothread = spare.first else {
            throw QMPError(
                "object-add: no spare iothread is left, and the filter of system calls lets no thread be started; "
                    + "object-del one, or start the machine with -machine microvm,spare-iothreads=N, with -object "
                    + "iothread,id=\(id), or with -disable-seccomp")
        }
        spare.removeFirst()
        running.append(iothread)
        iothread.rename(id, on: main.reactor) { completion(nil) }
    }

    /// `object-del`: ends an iothread that no device uses, or keeps its thread for another one.
    func remove(_ id: String, beside inventory: Inventory, _ completion: @escaping RunControl.Completion) {
        guard let iothread = self[id] else {
            return completion(QMPError("object-del: there is no iothread '\(id)'"))
        }
        if let user = inventory.user(ofIOThread: id) {
            return completion(QMPError("object-del: '\(id)' is in use by the device \(user.id)"))
        }
        guard !operations.isBusy else {
            return completion(QMPError("object-del: a device is just being plugged in or out; try again"))
        }
        running.removeAll { $0 === iothread }
        if keepsSpare {
            spare.append(iothread)
            iothread.rename(IOThread.spareName, on: main.reactor) { completion(nil) }
        } else {
            stopping.append(iothread)
            iothread.stop { [self] in
                stopping.removeAll { $0 === iothread }
                completion(nil)
            }
        }
    }

    // MARK: The end

    /// Ends all threads and waits for them.
    func finish() {
        for start in starting {
            if let iothread = try? start.iothread() { running.append(iothread) }
        }
        for iothread in running + spare + stopping { iothread.stopAndJoin() }
    }
}
