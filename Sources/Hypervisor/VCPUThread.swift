package import Bus
package import Host
import Synchronization

/// What a vCPU's thread tells the machine.
package enum VCPUReport: Sendable {
    /// The thread has stopped entering the guest, between two instructions, and waits for `resume`; the number is what
    /// `pause` answered.
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
    private let bus: SystemBus
    private let report: @Sendable (VCPUReport) -> Void
    private let command: Futex
    // The kernel's number of the thread, once it is ready; a negative error if it could not be made so.
    private let id = Futex(0)
    private let thread = Mutex<HostThread?>(nil)

    /// A thread for `vcpu`, not yet started.
    ///
    /// - Parameters:
    ///   - bus: answers the accesses; it has as many vCPUs as the machine.
    ///   - startsPaused: waits for `resume` before it enters the guest for the first time.
    ///   - report: called on the vCPU's thread.
    package init(
        _ vcpu: VCPU, bus: SystemBus, startsPaused: Bool, report: @escaping @Sendable (VCPUReport) -> Void
    ) {
        self.vcpu = vcpu
        self.bus = bus
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
        guard var master = BusMaster(bus, vcpu: vcpu.index) else { return report(.ended(.failed(.invalidArgument))) }
        // KVM finishes an instruction when the guest is entered after its access has been served.
        var isInInstruction = false
        while true {
            let order = command.load()
            switch order & Command.mask {
            case Command.stop:
                report(.stopped)
                return
            case Command.pause:
                if isInInstruction, let end = finishInstruction(&master) { return report(.ended(end)) }
                isInInstruction = false
                report(.paused(order))
                while command.load() == order { command.wait(while: order) }
                continue
            default:
                break
            }
            switch vcpu.enter() {
            case .interrupted:
                isInInstruction = false
            case let exit:
                guard serve(exit, &master) else { return report(.ended(exit)) }
                isInInstruction = true
            }
        }
    }

    /// Enters the guest just long enough for KVM to finish the instruction whose access was served last, and serves
    /// the accesses that it has left: a string of at most 1024, say.
    ///
    /// - Returns: why the guest is over, if it is.
    private func finishInstruction(_ master: inout BusMaster) -> VCPUExit? {
        while true {
            vcpu.requestExit()
            let exit = vcpu.enter()
            if exit == .interrupted { return nil }
            guard serve(exit, &master) else { return exit }
        }
    }

    /// Serves what the guest left for; false if that was no access.
    private func serve(_ exit: VCPUExit, _ master: inout BusMaster) -> Bool {
        switch exit {
        case .ports(let isWrite, let port, let size, let count):
            for index in 0..<count {
                guard let data = vcpu.portData(index, size: size) else { break }
                access(&master, .ports, at: UInt64(port), isWrite: isWrite, size: size, data)
            }
            return true
        case .memory(let isWrite, let address, let size):
            access(&master, .memory, at: address, isWrite: isWrite, size: size, vcpu.memoryData)
            return true
        default:
            return false
        }
    }

    private func access(
        _ master: inout BusMaster, _ space: AddressSpace, at address: UInt64, isWrite: Bool, size: UInt8,
        _ data: HostSlice
    ) {
        if isWrite {
            master.write(space, at: address, size: size, value: data.load(size: size))
        } else {
            data.store(master.read(space, at: address, size: size), size: size)
        }
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
