package import EventLoop
package import Host
import Synchronization

/// What a vCPU's thread tells the machine.
package enum VCPUReport: Sendable {
    /// The thread has stopped entering the guest and waits for `resume`; the number is what `pause` answered.
    case paused(UInt32)
    /// The guest is over; the thread has ended.
    case ended(VCPUExit)
    /// The thread has ended because `stop` asked it to.
    case stopped
}

/// The thread that runs one vCPU: it enters the guest, and hands over whatever the guest wants from a device.
package final class VCPUThread: Sendable {
    /// What the thread is to do, in the low two bits of its command word; the others count the pauses, so that a
    /// thread that is resumed and paused again in one moment notices, and reports both.
    private enum Command {
        static let run: UInt32 = 0
        static let pause: UInt32 = 1
        static let stop: UInt32 = 2
        static let mask: UInt32 = 3
        static let nextPause: UInt32 = 4
    }

    private let vcpu: VCPU
    private let port: ExitMailbox
    private let router: AccessRouter
    private let report: @Sendable (VCPUReport) -> Void
    private let command: Futex
    // The kernel's number of the thread, once it is ready; a negative error if it could not be made so.
    private let id = Futex(0)
    private let thread = Mutex<HostThread?>(nil)

    /// A thread for `vcpu`, not yet started.
    ///
    /// - Parameters:
    ///   - port: the mailbox for its accesses.
    ///   - startsPaused: waits for `resume` before it enters the guest for the first time.
    ///   - report: called on the vCPU's thread.
    package init(
        _ vcpu: VCPU, port: ExitMailbox, router: AccessRouter, startsPaused: Bool,
        report: @escaping @Sendable (VCPUReport) -> Void
    ) {
        self.vcpu = vcpu
        self.port = port
        self.router = router
        self.report = report
        command = Futex(startsPaused ? Command.pause : Command.run)
    }

    /// Starts the thread; `awaitStart` tells how that went.
    ///
    /// - Parameter prepare: runs first on the new thread; its system call filter is installed here. If it fails, so
    ///   does the start, and the thread has ended.
    package func start(prepare: @escaping @Sendable () throws(Errno) -> Void = {}) throws(Errno) {
        try thread.withLock { thread throws(Errno) in
            thread = try HostThread(name: "CPU \(vcpu.index)/KVM") { [self] in
                Signals.admitKick()
                let number = HostThread.currentID
                do throws(Errno) {
                    try prepare()
                } catch {
                    noteStart(-error.rawValue)
                    return
                }
                noteStart(number)
                loop()
            }
        }
    }

    private func noteStart(_ outcome: Int32) {
        id.store(UInt32(bitPattern: outcome))
        id.wake()
    }

    /// Sleeps until a thread that was started has prepared itself.
    package func awaitStart() throws(Errno) {
        while id.load() == 0 { id.wait(while: 0) }
        let outcome = threadID
        if outcome < 0 { throw Errno(rawValue: -outcome) }
    }

    /// The kernel's number of the thread; 0 before it has prepared itself.
    package var threadID: Int32 { Int32(bitPattern: id.load()) }

    /// Makes the thread leave the guest and wait; it then reports `.paused`.
    ///
    /// - Returns: the number of this pause, by which a report is told from one of an earlier pause.
    @discardableResult
    package func pause() -> UInt32 {
        let old = command.load()
        guard old & Command.mask == Command.run else { return old }
        let order = old &+ Command.nextPause | Command.pause
        if command.compareExchange(expected: old, order) { kick() }
        return order
    }

    /// Lets a paused thread go on.
    package func resume() {
        let old = command.load()
        guard old & Command.mask == Command.pause else { return }
        vcpu.announcePause()
        if command.compareExchange(expected: old, old & ~Command.mask | Command.run) {
            command.wake()
        }
    }

    /// Makes the thread end, whatever it does; it then reports `.stopped`.
    package func stop() {
        if command.exchange(Command.stop) == Command.stop { return }
        command.wake()
        kick()
    }

    /// Waits until the thread has ended.
    package func join() {
        thread.withLock { $0.take() }?.join()
    }

    private func kick() {
        vcpu.requestExit()
        thread.withLock { $0?.signal(Signals.kick) }
    }

    private func loop() {
        while true {
            let order = command.load()
            switch order & Command.mask {
            case Command.stop:
                report(.stopped)
                return
            case Command.pause:
                report(.paused(order))
                while command.load() == order { command.wait(while: order) }
                continue
            default:
                break
            }
            switch vcpu.enter() {
            case .ports(let isWrite, let number, let size, let count):
                for index in 0..<count {
                    guard let data = vcpu.portData(index, size: size) else { break }
                    access(port: number, isWrite: isWrite, size: size, data)
                }
            case .memory(let isWrite, let address, let size):
                access(address: address, isWrite: isWrite, size: size, vcpu.memoryData)
            case .interrupted:
                break
            case let end:
                report(.ended(end))
                return
            }
        }
    }

    private func access(port number: UInt16, isWrite: Bool, size: UInt8, _ data: HostSlice) {
        switch router.answer(port: number, isWrite: isWrite, size: size) {
        case .nobody(let value):
            if !isWrite { data.store(value, size: size) }
        case .posted(let reactor):
            let value = UInt32(truncatingIfNeeded: data.load(size: size))
            if reactor.post(port: number, size: size, value: value) { return }
            fallthrough
        case .reactor(let reactor):
            forward(BusAccess(space: .ports, isWrite: isWrite, size: size, address: UInt64(number)), to: reactor, data)
        }
    }

    private func access(address: UInt64, isWrite: Bool, size: UInt8, _ data: HostSlice) {
        if let status = router.interruptStatus(address: address, isWrite: isWrite, size: size) {
            if isWrite {
                status.acknowledge(UInt32(truncatingIfNeeded: data.load(size: size)))
            } else {
                data.store(UInt64(status.value), size: size)
            }
            return
        }
        switch router.answer(address: address) {
        case .nobody(let value):
            if !isWrite { data.store(value, size: size) }
        case .posted(let reactor), .reactor(let reactor):
            forward(BusAccess(space: .memory, isWrite: isWrite, size: size, address: address), to: reactor, data)
        }
    }

    private func forward(_ access: BusAccess, to reactor: ReactorHandle, _ data: HostSlice) {
        var access = access
        if access.isWrite { access.value = data.load(size: access.size) }
        let answer = port.forward(access, to: reactor)
        if !access.isWrite { data.store(answer, size: access.size) }
    }
}

extension HostSlice {
    /// Loads the first `size` bytes as a little-endian number.
    fileprivate func load(size: UInt8) -> UInt64 {
        switch size {
        case 1: UInt64(load(at: 0, as: UInt8.self) ?? 0)
        case 2: UInt64(load(at: 0, as: UInt16.self) ?? 0)
        case 4: UInt64(load(at: 0, as: UInt32.self) ?? 0)
        default: load(at: 0, as: UInt64.self) ?? 0
        }
    }

    /// Stores the low `size` bytes of `value`.
    fileprivate func store(_ value: UInt64, size: UInt8) {
        switch size {
        case 1: store(UInt8(truncatingIfNeeded: value), at: 0)
        case 2: store(UInt16(truncatingIfNeeded: value), at: 0)
        case 4: store(UInt32(truncatingIfNeeded: value), at: 0)
        default: store(value, at: 0)
        }
    }
}
