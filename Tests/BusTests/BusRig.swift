import Bus
import EventLoop
import Host

/// Answers reads with its number and the offset, and remembers what was written.
final class Probe: BusDevice {
    let number: UInt64
    var action = BusAction.none
    var writes: [BusAccess] = []
    var onRead: (() -> Void)?
    var onEnd: (() -> Void)?

    init(_ number: UInt64 = 0) {
        self.number = number
    }

    deinit { onEnd?() }

    func read(at offset: UInt64, size: Int) -> UInt64 {
        onRead?()
        return number << 8 | offset
    }

    func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        writes.append(BusAccess(isWrite: true, size: UInt8(size), offset: offset, value: value))
        return action
    }
}

/// A board's bus with one reactor, and threads that play its vCPUs.
struct BusRig {
    let reactor: Reactor
    let bus: SystemBus
    let devices: ReactorBus
    private let vcpus: Int

    init(vcpus: Int = 1, maySpin: Bool = true, onAction: @escaping (BusAction) -> Void = { _ in }) throws {
        self.vcpus = vcpus
        reactor = try Reactor(name: "test")
        bus = SystemBus(vcpus: vcpus, maySpin: maySpin)
        devices = ReactorBus(reactor, bus, onAction: onAction)
    }

    /// The first vCPU's end of the bus.
    func master() throws -> BusMaster {
        guard let master = BusMaster(bus, vcpu: 0) else { throw NoSuchVCPU() }
        return master
    }

    private struct NoSuchVCPU: Error {}

    /// Runs `body` as every vCPU at once, each on a thread of its own, and serves them meanwhile.
    func run(_ body: @escaping @Sendable (_ vcpu: Int, _ master: inout BusMaster) -> Void) throws {
        let ended = Futex(0)
        let handle = reactor.handle
        var threads: [Joiner] = []
        for vcpu in 0..<vcpus {
            let thread = try HostThread(name: "vcpu") { [bus] in
                if var master = BusMaster(bus, vcpu: vcpu) { body(vcpu, &master) }
                _ = ended.add(1)
                handle.send { _ in }
            }
            threads.append(Joiner(thread))
        }
        while ended.load() < vcpus { reactor.turn(waiting: true) }
        // What they posted last.
        reactor.turn(waiting: false)
        threads.forEach { $0.join() }
    }
}

/// Holds a thread until it is joined, since an array cannot.
final class Joiner {
    private var thread: HostThread?

    init(_ thread: consuming HostThread) {
        self.thread = consume thread
    }

    func join() {
        thread.take()?.join()
    }
}
