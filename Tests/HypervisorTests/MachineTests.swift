import EventLoop
import Host
import Hypervisor
import Memory
import Synchronization
import Testing

/// 32-bit protected-mode code at 0x1000 in a machine of its own, with an empty IDT: any fault is a triple fault.
struct TinyGuest {
    let memory: GuestMemory
    let machine: VirtualMachine
    let vcpu: VCPU

    init(_ code: [UInt8]) throws {
        memory = try GuestMemory(size: 1 << 20)
        try memory.write(code, at: GuestAddress(0x1000))
        machine = try VirtualMachine(try KVM(), memory: memory)
        vcpu = try VCPU(machine, index: 0, apicID: 0)
        try vcpu.prepare(machine, ProcessorTopology(threadsPerCore: 1, coresPerSocket: 1, sockets: 1))
        let segment = { (type: UInt8) in
            InitialRegisters.Segment(
                selector: 8, limit: 0xffff_ffff, type: type, isCodeOrData: true, isLong: false, is32Bit: true,
                countsPages: true)
        }
        var registers = InitialRegisters(
            code: segment(0xb), data: segment(0x3),
            task: .init(
                selector: 0, limit: 0xffff, type: 0xb, isCodeOrData: false, isLong: false, is32Bit: false,
                countsPages: false),
            gdt: .init(base: 0, limit: 0), idt: .init(base: 0, limit: 0))
        registers.rip = 0x1000
        registers.rsp = 0x8000
        registers.cr0 = 0x11
        try vcpu.set(registers)
    }

    /// Runs the guest until it leaves for a reason of its own.
    func enter() -> VCPUExit {
        while true {
            let exit = vcpu.enter()
            if exit != .interrupted { return exit }
        }
    }
}

/// Remembers writes and answers reads with the number of writes.
private final class Recorder: AccessServer {
    var writes: [BusAccess] = []

    override func serve(_ access: inout BusAccess) {
        if access.isWrite { writes.append(access) } else { access.value = UInt64(writes.count) }
    }
}

@Suite(.enabled(if: (try? FileDescriptor.open("/dev/kvm", .readWrite)) != nil), .serialized)
struct MachineTests {
    /// mov dx, 0x3f8; mov al, 'A'; out dx, al; in al, dx; out dx, al; ud2 with an empty IDT.
    static let outInFault: [UInt8] = [
        0x66, 0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xec, 0xee, 0x0f, 0x0b,
    ]
    /// jmp $
    static let spin: [UInt8] = [0xeb, 0xfe]
    /// sti; hlt; jmp back
    static let sleep: [UInt8] = [0xfb, 0xf4, 0xeb, 0xfd]

    @Test func exitsAreValues() throws {
        let guest = try TinyGuest(Self.outInFault)
        #expect(guest.enter() == .ports(isWrite: true, port: 0x3f8, size: 1, count: 1))
        #expect(guest.vcpu.portData(0, size: 1)?.byte(at: 0) == 0x41)
        #expect(guest.enter() == .ports(isWrite: false, port: 0x3f8, size: 1, count: 1))
        guest.vcpu.portData(0, size: 1)?.store(UInt8(0x77), at: 0)
        #expect(guest.enter() == .ports(isWrite: true, port: 0x3f8, size: 1, count: 1))
        #expect(guest.vcpu.portData(0, size: 1)?.byte(at: 0) == 0x77)
        #expect(guest.enter() == .shutdown)
    }

    @Test(arguments: [nil, AccessRouter.SerialPorts(first: 0x3f8, registers: PublishedRegisters())])
    func aThreadHandsAccessesToTheReactor(serial: AccessRouter.SerialPorts?) throws {
        let guest = try TinyGuest(Self.outInFault)
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        let port = ExitMailbox(index: 0, maySpin: HostThread.availableCPUs > 1)
        let recorder = Recorder()
        reactor.serve([port], with: recorder)
        let router = AccessRouter(
            main: handle, iothreads: [], ports: [0x3f8...0x3ff], serial: serial, window: 0xf010_0000,
            slotSize: 0x200)
        let end = Mutex<VCPUExit?>(nil)
        let thread = VCPUThread(guest.vcpu, port: port, router: router, startsPaused: false) { report in
            if case .ended(let exit) = report {
                end.withLock { $0 = exit }
                handle.send { $0.stop() }
            }
        }
        try thread.start()
        reactor.run()
        thread.join()
        #expect(recorder.writes.map(\.value) == [0x41, 1])
        #expect(end.withLock { $0 } == .shutdown)
    }

    @Test(arguments: [spin, sleep]) func pausingAndStoppingReachesABusyOrIdleGuest(code: [UInt8]) throws {
        let guest = try TinyGuest(code)
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        let router = AccessRouter(
            main: handle, iothreads: [], ports: [], serial: nil, window: 0xf010_0000, slotSize: 0x200)
        let paused = Futex(0)
        let stopped = Futex(0)
        let thread = VCPUThread(
            guest.vcpu, port: ExitMailbox(index: 0, maySpin: false), router: router, startsPaused: true
        ) {
            report in
            let word = if case .paused(_) = report { paused } else { stopped }
            _ = word.add(1)
            word.wake()
        }
        _ = try Signals.takeOver()
        try thread.start()
        for round in 1...20 as ClosedRange<UInt32> {
            while paused.load() < round { paused.wait(while: round - 1) }
            thread.resume()
            if round < 20 { thread.pause() }
        }
        thread.stop()
        thread.join()
        #expect(stopped.load() == 1)
        #expect(paused.load() == 20)
    }

    /// Runs the guest on a thread of its own until it ends, and serves it meanwhile.
    private func run(_ guest: TinyGuest, _ port: ExitMailbox, _ router: AccessRouter, _ reactor: Reactor) throws {
        let handle = reactor.handle
        let thread = VCPUThread(guest.vcpu, port: port, router: router, startsPaused: false) { _ in
            handle.send { $0.stop() }
        }
        try thread.start()
        reactor.run()
        thread.join()
    }

    @Test func unownedAccessesNeedNobody() throws {
        // Reads a port, and then memory, that nobody owns; writes what it read to a port; ud2.
        let guest = try TinyGuest([
            0x66, 0xba, 0x00, 0x06, 0xec, 0x22, 0x05, 0x00, 0x00, 0x10, 0xf0, 0x66, 0xba, 0xf8, 0x03, 0xee, 0x0f, 0x0b,
        ])
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        let port = ExitMailbox(index: 0, maySpin: false)
        let recorder = Recorder()
        reactor.serve([port], with: recorder)
        let router = AccessRouter(
            main: handle, iothreads: [], ports: [0x3f8...0x3ff], serial: nil, window: 0xf010_0000, slotSize: 0x200)
        try run(guest, port, router, reactor)
        #expect(recorder.writes.map(\.value) == [0xff])
    }

    @Test func aHandlerOfAnInterruptAsksNobody() throws {
        // mov eax, [0xf0100060]; mov [0xf0100064], eax; mov [0xf0100070], eax; ud2
        let guest = try TinyGuest([
            0xa1, 0x60, 0x00, 0x10, 0xf0, 0xa3, 0x64, 0x00, 0x10, 0xf0, 0xa3, 0x70, 0x00, 0x10, 0xf0, 0x0f, 0x0b,
        ])
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        let port = ExitMailbox(index: 0, maySpin: false)
        let recorder = Recorder()
        reactor.serve([port], with: recorder)
        let router = AccessRouter(
            main: handle, iothreads: [], ports: [], serial: nil, window: 0xf010_0000, slotSize: 0x200,
            interruptRegisters: AccessRouter.InterruptRegisters(status: 0x60, acknowledge: 0x64))
        router.setOwner(ofSlot: 0, handle)
        let status = router.interruptStatus(ofSlot: 0)
        status.insert(3)
        try run(guest, port, router, reactor)
        #expect(status.value == 0)
        #expect(recorder.writes.map(\.address) == [0xf010_0070])
        #expect(recorder.writes.map(\.value) == [3])
    }
}

@Suite struct AccessRouterTests {
    @Test(
        arguments: [(0x70, 0), (0x71, 0), (0x61, 0x20), (0x80, UInt64.max), (0xcf8, UInt64.max)] as [(UInt16, UInt64)])
    func portsOfNobodyHaveFixedAnswers(port: UInt16, expected: UInt64) throws {
        let router = AccessRouter(
            main: try Reactor(name: "main").handle, iothreads: [], ports: [], serial: nil, window: 0x1000,
            slotSize: 0x200)
        guard case .nobody(let value) = router.answer(port: port, isWrite: false, size: 1) else {
            Issue.record("somebody answers port \(port)")
            return
        }
        #expect(value == expected)
    }

    @Test func slotsFollowTheirOwners() throws {
        let main = try Reactor(name: "main")
        let other = try Reactor(name: "other")
        let router = AccessRouter(
            main: main.handle, iothreads: [other.handle], ports: [], serial: nil, window: 0x1000, slotSize: 0x200)
        router.setOwner(ofSlot: 0, main.handle)
        router.setOwner(ofSlot: 31, other.handle)
        router.setOwner(ofSlot: 32, other.handle)
        func owner(_ address: UInt64) -> ReactorHandle? {
            if case .reactor(let handle) = router.answer(address: address) { handle } else { nil }
        }
        #expect(owner(0x11ff) === main.handle)
        #expect(owner(0x1200) == nil)
        #expect(owner(0x1000 + 31 * 0x200) === other.handle)
        #expect(owner(0x1000 + 32 * 0x200) == nil)
        #expect(owner(0xfff) == nil)
        router.setOwner(ofSlot: 0, nil)
        #expect(owner(0x1000) == nil)
    }

    @Test func interruptsOfSlotsWithADeviceNeedNobody() throws {
        let main = try Reactor(name: "main")
        let router = AccessRouter(
            main: main.handle, iothreads: [], ports: [], serial: nil, window: 0x1000, slotSize: 0x200,
            interruptRegisters: AccessRouter.InterruptRegisters(status: 0x60, acknowledge: 0x64))
        router.setOwner(ofSlot: 1, main.handle)
        func status(_ address: UInt64, isWrite: Bool = false, size: UInt8 = 4) -> InterruptStatus? {
            router.interruptStatus(address: address, isWrite: isWrite, size: size)
        }
        #expect(status(0x1260) === router.interruptStatus(ofSlot: 1))
        #expect(status(0x1264, isWrite: true) === router.interruptStatus(ofSlot: 1))
        #expect(status(0x1264) == nil)
        #expect(status(0x1260, isWrite: true) == nil)
        #expect(status(0x1260, size: 1) == nil)
        // Other slots, those beyond the last, and addresses below the first.
        #expect(status(0x1060) == nil)
        #expect(status(0x1000 + 32 * 0x200 + 0x60) == nil)
        #expect(status(0x60) == nil)
        #expect(router.interruptStatus(ofSlot: 32) !== router.interruptStatus(ofSlot: 1))
    }
}

@Suite struct ProcessorTopologyTests {
    @Test(arguments: [
        (1, 1, 1, [0]), (2, 2, 1, [0, 1, 2, 3]), (1, 3, 2, [0, 1, 2, 4, 5, 6]), (1, 1, 4, [0, 1, 2, 3]),
    ]) func apicIDsHaveBitsForEachLevel(threads: Int, cores: Int, sockets: Int, expected: [UInt32]) {
        let topology = ProcessorTopology(threadsPerCore: threads, coresPerSocket: cores, sockets: sockets)
        #expect((0..<expected.count).map { topology.apicID(of: $0) } == expected)
    }
}
