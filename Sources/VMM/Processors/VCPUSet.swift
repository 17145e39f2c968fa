import Boot
import Bus
import EventLoop
import Host
import Hypervisor
import Options

/// The machine's vCPUs and their threads, as the main reactor sees them.
final class VCPUSet {
    private let onEnd: (_ index: Int, VCPUExit) -> Void
    // Set once, while the set is made.
    private var threads: [VCPUThread] = []
    private let topology: CPUTopology
    // What each thread has last reported.
    private var states: [State]
    // The pause whose report each thread owes; nil while it is to run.
    private var pauses: [UInt32?]
    private var whenPaused: (() -> Void)?
    private var whenEnded: (() -> Void)?

    private enum State {
        case running, paused, ended
    }

    /// Creates the vCPUs of a machine; call before its interrupts are connected.
    static func create(_ machine: VirtualMachine, _ topology: CPUTopology) throws(HypervisorError) -> [VCPU] {
        var vcpus: [VCPU] = []
        for (index, id) in topology.arrangement.apicIDs(topology.cpus).enumerated() {
            vcpus.append(try VCPU(machine, index: index, id: UInt32(id)))
        }
        return vcpus
    }

    /// Prepares the vCPUs and their threads; the first begins with `initial`, the others wait until the guest starts
    /// them.
    ///
    /// - Parameter onEnd: called on the main reactor when the guest is over on one vCPU.
    init(
        _ vcpus: [VCPU], of machine: VirtualMachine, _ topology: CPUTopology, initial: InitialState, bus: SystemBus,
        reactor: Reactor, onEnd: @escaping (_ index: Int, VCPUExit) -> Void
    ) throws(HypervisorError) {
        self.topology = topology
        self.onEnd = onEnd
        states = vcpus.map { _ in .running }
        pauses = vcpus.map { _ in nil }
        let (main, receiver) = (reactor.handle, ReactorBound(self, to: reactor))
        for vcpu in vcpus {
            try vcpu.prepare(machine, topology.arrangement)
            if vcpu.index == 0 { try vcpu.set(InitialRegisters(initial)) }
            threads.append(
                VCPUThread(vcpu, bus: bus, startsPaused: true) { [index = vcpu.index] report in
                    main.send { reactor in receiver.value(on: reactor)?.note(report, of: index) }
                })
        }
    }

    /// Starts all threads; they pause before they enter the guest.
    ///
    /// - Parameter prepare: runs first on each.
    func start(prepare: @escaping @Sendable () throws(Errno) -> Void) throws(Errno) {
        for thread in threads { try thread.start(prepare: prepare) }
        for thread in threads { try thread.awaitStart() }
    }

    /// Makes all vCPUs leave the guest, and calls `done` when none is in it.
    func pause(_ done: @escaping () -> Void) {
        whenPaused = done
        for (index, thread) in threads.enumerated() { pauses[index] = thread.pause() }
        check()
    }

    /// Lets all vCPUs run.
    func resume() {
        whenPaused = nil
        for (index, thread) in threads.enumerated() where states[index] != .ended {
            states[index] = .running
            pauses[index] = nil
            thread.resume()
        }
    }

    /// Ends all threads, and calls `done` when they have ended.
    func stop(_ done: @escaping () -> Void) {
        whenEnded = done
        for thread in threads { thread.stop() }
        check()
    }

    /// Waits until the threads are gone.
    func join() {
        for thread in threads { thread.join() }
    }

    /// Each vCPU's thread, and where the vCPU sits.
    var placements: [(threadID: Int32, socket: Int, die: Int, core: Int, thread: Int)] {
        threads.enumerated().map { index, thread in
            let core = index / topology.threads
            let die = core / (topology.cores * topology.clusters)
            return (
                thread.threadID, die / topology.dies, die % topology.dies, core % (topology.cores * topology.clusters),
                index % topology.threads
            )
        }
    }

    private func note(_ report: VCPUReport, of index: Int) {
        guard states.indices.contains(index) else { return }
        switch report {
        case .paused(let pause): if pauses[index] == pause { states[index] = .paused }
        case .stopped: states[index] = .ended
        case .ended(let exit):
            states[index] = .ended
            onEnd(index, exit)
        }
        check()
    }

    private func check() {
        if whenPaused != nil, !states.contains(.running) {
            let done = whenPaused.take()
            done?()
        }
        if whenEnded != nil, states.allSatisfy({ $0 == .ended }) {
            let done = whenEnded.take()
            done?()
        }
    }
}

extension VCPUSet: VCPUControl {}

extension CPUTopology {
    /// The topology as processors show it: what is between socket and core counts as cores.
    var arrangement: ProcessorTopology {
        ProcessorTopology(threadsPerCore: threads, coresPerSocket: cores * clusters * dies, sockets: sockets)
    }
}

extension InitialRegisters {
    /// The registers with which a kernel is entered.
    init(_ state: InitialState) {
        self.init(
            code: Segment(state.code), data: Segment(state.data), task: Segment(state.task),
            gdt: Table(base: state.gdt.base, limit: state.gdt.limit),
            idt: Table(base: state.idt.base, limit: state.idt.limit))
        rip = state.rip
        rsp = state.rsp
        rbp = state.rbp
        rbx = state.rbx
        rsi = state.rsi
        cr0 = state.cr0
        cr3 = state.cr3
        cr4 = state.cr4
        efer = state.efer
    }
}

extension InitialRegisters.Segment {
    fileprivate init(_ segment: Boot.Segment) {
        self.init(
            selector: segment.selector, base: segment.base, limit: segment.limit, type: segment.type,
            isCodeOrData: segment.isCodeOrData, isLong: segment.isLongMode, is32Bit: segment.isDefault32Bit,
            countsPages: segment.isPageGranular)
    }
}
