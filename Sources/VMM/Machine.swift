import Bus
import Control
import EventLoop
import Host
import Hypervisor
import Memory
import Options
import Sandbox

/// The composition root: makes the parts of a machine, connects them, and lets go of them at the end. It belongs to the
/// main reactor.
///
/// What other parts report to is there first: run control and the way to QMP's clients.
final class Machine {
    let options: LaunchOptions
    let reactor: Reactor
    let events: EventSink
    /// Pause, resume, and what touches slots, one at a time.
    let operations = SerialQueue()
    let runControl: RunControl
    let layout = BoardLayout.microvm
    /// The addresses that vCPUs reach devices by.
    let bus: SystemBus
    /// The devices of the main reactor.
    let devices: ReactorDevices
    private var parts: Parts?
    private var server: QMPServer?

    /// What a machine is built of.
    struct Parts {
        let slots: SlotManager
        let descriptors: DescriptorStore
        let chardevs: Chardevs
        let vcpus: VCPUSet
        let board: BoardDevices
        /// Nil if system calls are not filtered.
        let filters: SeccompFilters?
        /// KVM's side of it, kept as long as anything uses it.
        let vm: VirtualMachine
    }

    /// A machine of which nothing is there but what others report to.
    init(_ options: LaunchOptions, reactor: Reactor) {
        self.options = options
        self.reactor = reactor
        events = EventSink(reactor)
        runControl = RunControl(reactor, operations: operations, events: events)
        reactor.onLoss { [runControl] in runControl.lose($0) }
        bus = SystemBus(vcpus: options.topology.cpus)
        devices = ReactorDevices(reactor, bus, layout) { [runControl] in runControl.act($0) }
    }

    /// Builds everything else. Nothing is left on the host if that fails.
    func build() throws(MachineError) {
        let parts = try MachineBuilder(self).build()
        runControl.connect(parts.vcpus, parts.slots)
        parts.slots.balloon?.postChanges(to: events, on: reactor)
        self.parts = parts
    }

    /// Serves QMP from now on.
    func serve(_ listeners: [Box<QMPListener>]) {
        guard let parts else { return }
        let server = QMPServer(
            reactor: reactor, machine: QMPMachine(options, layout, bus, runControl, parts),
            version: QMPVersion(package: "apus-\(Version.number)"))
        events.connect(server, on: reactor)
        for listener in listeners {
            if let listener = listener.take() { server.listen(on: listener) }
        }
        self.server = server
    }

    /// Leaves the main thread what it needs from its first turn on.
    func filterMainThread() throws(MachineError) {
        do {
            try parts?.filters?.install(.main)
        } catch {
            throw MachineError("seccomp", "cannot filter the main thread's system calls: \(error)")
        }
    }

    /// Leaves the host as it was found, when the start has failed.
    func abandon() {
        server?.abandon()
        parts?.slots.finish()
        parts?.chardevs.finish(within: 0)
    }

    /// After the reactor's last turn: waits for the threads, and answers with the exit status.
    func finish() -> Int32 {
        if let parts {
            parts.vcpus.join()
            parts.board.finish()
            parts.slots.finish()
            parts.chardevs.finish(within: Self.chardevLimit)
            parts.slots.iothreads.finish()
        }
        return runControl.endCause?.status ?? 0
    }

    /// How long character backends have to take what the guest has written last, in nanoseconds.
    private static let chardevLimit: UInt64 = 500_000_000
}
