import Bus
import CHost
import EventLoop
import Host
import Memory
import Synchronization

@testable import Hypervisor

/// 32-bit protected-mode code at 0x1000 in a machine of its own, with an empty IDT: any fault is a triple fault.
struct TinyGuest {
    let memory: GuestMemory
    let machine: VirtualMachine
    let vcpu: VCPU

    /// Where the code begins.
    static let start: UInt64 = 0x1000

    init(_ code: [UInt8]) throws {
        memory = try GuestMemory(size: 1 << 20)
        try memory.write(code, at: GuestAddress(Self.start))
        machine = try VirtualMachine(try KVM(), memory: memory, layout: .microvm)
        vcpu = try VCPU(machine, index: 0, id: 0)
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
        registers.rip = Self.start
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

    /// Some of the vCPU's registers; only while it is not in the guest.
    func state() throws -> (rip: UInt64, rax: UInt64, rcx: UInt64) {
        // KVM_GET_REGS, by the numbers of <linux/kvm.h> and <asm-generic/ioctl.h>.
        let request = UInt(2 << 30 | MemoryLayout<kvm_regs>.size << 16 | 0xae << 8 | 0x81)
        var registers = kvm_regs()
        try unsafe vcpu.request("KVM_GET_REGS", request, &registers)
        return (registers.rip, registers.rax, registers.rcx)
    }
}

/// A device that remembers writes and answers reads with the number of writes.
final class Recorder: BusDevice {
    var writes: [BusAccess] = []
    /// Runs while the guest waits for a read.
    var onRead: (() -> Void)?
    /// Runs while the guest waits for a write.
    var onWrite: (() -> Void)?

    func read(at offset: UInt64, size: Int) -> UInt64 {
        onRead?()
        return UInt64(writes.count)
    }

    func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        writes.append(BusAccess(isWrite: true, size: UInt8(size), offset: offset, value: value))
        onWrite?()
        return .none
    }
}

/// A tiny guest on a thread of its own, and the bus on which a test puts devices.
struct GuestRig {
    let guest: TinyGuest
    let reactor: Reactor
    let bus: SystemBus
    let devices: ReactorBus

    init(_ code: [UInt8], maySpin: Bool = true) throws {
        guest = try TinyGuest(code)
        reactor = try Reactor(name: "test")
        bus = SystemBus(vcpus: 1, maySpin: maySpin)
        devices = ReactorBus(reactor, bus) { _ in }
    }

    /// Runs the guest until it ends, and serves it meanwhile; answers why it ended.
    func run() throws -> VCPUExit? {
        let handle = reactor.handle
        let end = Mutex<VCPUExit?>(nil)
        let thread = VCPUThread(guest.vcpu, bus: bus, startsPaused: false) { report in
            if case .ended(let exit) = report { end.withLock { $0 = exit } }
            handle.send { $0.stop() }
        }
        try thread.start()
        reactor.run()
        thread.join()
        return end.withLock { $0 }
    }
}
