import Bus
import EventLoop
import Host
import Memory
import Synchronization
import Testing

@testable import Hypervisor

let hasKVM = (try? FileDescriptor.open("/dev/kvm", .readWrite)) != nil

@Suite(.enabled(if: hasKVM), .serialized)
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

    @Test func memoryAccessesAreValues() throws {
        // mov eax, [0xf0100010]; mov [0xf0100014], ax; ud2
        let guest = try TinyGuest([
            0xa1, 0x10, 0x00, 0x10, 0xf0, 0x66, 0xa3, 0x14, 0x00, 0x10, 0xf0, 0x0f, 0x0b,
        ])
        #expect(guest.enter() == .memory(isWrite: false, address: 0xf010_0010, size: 4))
        guest.vcpu.memoryData.store(UInt32(0x8765_4321), at: 0)
        #expect(guest.enter() == .memory(isWrite: true, address: 0xf010_0014, size: 2))
        #expect(guest.vcpu.memoryData.load(at: 0, as: UInt16.self) == 0x4321)
        #expect(guest.enter() == .shutdown)
    }

    @Test func dataOfAPortAccessStaysInItsArea() throws {
        let guest = try TinyGuest(Self.outInFault)
        _ = guest.enter()
        #expect(guest.vcpu.portData(0, size: 4) != nil)
        #expect(guest.vcpu.portData(.max, size: 8) == nil)
        #expect(guest.vcpu.portData(.max, size: .max) == nil)
    }

    @Test func aRequestToExitComesBeforeTheGuest() throws {
        let guest = try TinyGuest(Self.outInFault)
        guest.vcpu.requestExit()
        #expect(guest.vcpu.enter() == .interrupted)
        #expect(try guest.state().rip == TinyGuest.start)
        // Once only.
        #expect(guest.enter() == .ports(isWrite: true, port: 0x3f8, size: 1, count: 1))
    }

    @Test(arguments: [false, true]) func aThreadHandsAccessesToTheReactor(postsFirst: Bool) throws {
        let rig = try GuestRig(Self.outInFault)
        let recorder = Recorder()
        #expect(rig.devices.attach(recorder, at: .ports(0x3f8, count: 8), postsFirst: postsFirst))
        #expect(try rig.run() == .shutdown)
        #expect(recorder.writes.map(\.value) == [0x41, 1])
    }

    @Test func eachElementOfAStringIsAnAccess() throws {
        // mov edx, 0x3f8; mov esi, 0x1000; mov ecx, 9; cld; rep outsb; ud2: the code itself is what is written.
        let code: [UInt8] = [
            0xba, 0xf8, 0x03, 0x00, 0x00, 0xbe, 0x00, 0x10, 0x00, 0x00, 0xb9, 0x09, 0x00, 0x00, 0x00, 0xfc, 0xf3, 0x6e,
            0x0f, 0x0b,
        ]
        let rig = try GuestRig(code)
        let recorder = Recorder()
        #expect(rig.devices.attach(recorder, at: .ports(0x3f8, count: 8)))
        #expect(try rig.run() == .shutdown)
        #expect(recorder.writes.map(\.value) == code.prefix(9).map { UInt64($0) })
    }

    @Test func noDeviceIsAskedForUnownedAddresses() throws {
        // Reads a port, and then memory, that nobody owns; writes what it read to a port; ud2.
        let rig = try GuestRig(
            [
                0x66, 0xba, 0x00, 0x06, 0xec, 0x22, 0x05, 0x00, 0x00, 0x10, 0xf0, 0x66, 0xba, 0xf8, 0x03, 0xee, 0x0f,
                0x0b,
            ], maySpin: false)
        let recorder = Recorder()
        #expect(rig.devices.attach(recorder, at: .ports(0x3f8, count: 8)))
        #expect(try rig.run() == .shutdown)
        #expect(recorder.writes.map(\.value) == [0xff])
    }

    @Test func aHandlerOfAnInterruptAsksNoDevice() throws {
        // mov eax, [0xf0100060]; mov [0xf0100064], eax; mov [0xf0100070], eax; ud2
        let rig = try GuestRig(
            [
                0xa1, 0x60, 0x00, 0x10, 0xf0, 0xa3, 0x64, 0x00, 0x10, 0xf0, 0xa3, 0x70, 0x00, 0x10, 0xf0, 0x0f, 0x0b,
            ], maySpin: false)
        let status = InterruptStatus()
        let recorder = Recorder()
        let published = PublishedRegisters([.causes(status, at: 0x60), .acknowledge(status, at: 0x64)])
        let window = BoardLayout.microvm.virtio
        #expect(rig.devices.attach(recorder, at: window.addresses(ofSlot: 0), published: published))
        status.insert(3)
        #expect(try rig.run() == .shutdown)
        #expect(status.value == 0)
        #expect(recorder.writes == [BusAccess(isWrite: true, size: 4, offset: 0x70, value: 3)])
    }

    @Test func aThreadWithoutAMailboxEnds() throws {
        let guest = try TinyGuest(Self.spin)
        let reported = Mutex<VCPUExit?>(nil)
        let thread = VCPUThread(guest.vcpu, bus: SystemBus(vcpus: 0), startsPaused: false) { report in
            if case .ended(let exit) = report { reported.withLock { $0 = exit } }
        }
        try thread.start()
        thread.join()
        #expect(reported.withLock { $0 } == .failed(.invalidArgument))
    }

    @Test func aThreadThatCannotPrepareItselfSaysWhy() throws {
        let guest = try TinyGuest(Self.spin)
        let thread = VCPUThread(guest.vcpu, bus: SystemBus(vcpus: 1), startsPaused: false) { _ in }
        try thread.start { () throws(Errno) in throw .accessDenied }
        #expect(throws: Errno.accessDenied) { try thread.awaitStart() }
        thread.join()
    }

    /// Interrupts are connected after the vCPUs, and each line takes more than one eventfd.
    @Test func linesAndDoorbellsAreConnected() throws {
        let guest = try TinyGuest([
            // mov dword [0xf0100050], 1; mov dword [0xf0100050], 0; ud2
            0xc7, 0x05, 0x50, 0x00, 0x10, 0xf0, 1, 0, 0, 0, 0xc7, 0x05, 0x50, 0x00, 0x10, 0xf0, 0, 0, 0, 0, 0x0f, 0x0b,
        ])
        let line = try EventFD()
        let doorbell = try EventFD()
        try guest.machine.connectInterrupt(line.rawValue, line: 5)
        #expect(throws: HypervisorError.self) { try guest.machine.connectInterrupt(line.rawValue, line: 5) }
        try guest.machine.connectInterrupt(line.rawValue, line: 5, false)
        let address = GuestAddress(0xf010_0050)
        try guest.machine.connectDoorbell(doorbell.rawValue, at: address, value: 1)
        #expect(throws: HypervisorError.self) {
            try guest.machine.connectDoorbell(doorbell.rawValue, at: address, value: 1)
        }
        // Only the value that matches needs no exit.
        #expect(guest.enter() == .memory(isWrite: true, address: 0xf010_0050, size: 4))
        #expect(doorbell.take() == 1)
        #expect(guest.memory.size == 1 << 20)
        #expect(guest.enter() == .shutdown)
        try guest.machine.connectDoorbell(doorbell.rawValue, at: address, value: 1, false)
    }

    @Test func anIdentifierIsTakenOnce() throws {
        let guest = try TinyGuest(Self.spin)
        let error = #expect(throws: HypervisorError.self) { try VCPU(guest.machine, index: 1, id: 0) }
        #expect(error?.cause == .exists)
        #expect(error?.step == "KVM_CREATE_VCPU 0")
        _ = try VCPU(guest.machine, index: 1, id: 4)
    }

    @Test func aFileThatIsNotKVMIsRefused() {
        #expect(throws: HypervisorError.self) { _ = try KVM(path: "/dev/null") }
        let error = #expect(throws: HypervisorError.self) { _ = try KVM(path: "/nowhere/kvm") }
        #expect(error?.cause == .noEntry)
        #expect(error?.description.contains("load the kernel's kvm module") == true)
    }
}

@Suite struct ExitTests {
    @Test(
        arguments: [(1, .shutdown), (2, .reset), (3, .crash), (0, .other(0)), (.max, .other(.max))]
            as [(UInt32, SystemEvent)])
    func systemEventsHaveNames(type: UInt32, event: SystemEvent) {
        #expect(SystemEvent(type) == event)
    }
}

@Suite struct ProcessorTopologyTests {
    @Test(arguments: [
        (1, 1, 1, [0]), (2, 2, 1, [0, 1, 2, 3]), (1, 3, 2, [0, 1, 2, 4, 5, 6]), (1, 1, 4, [0, 1, 2, 3]),
    ]) func apicIDsHaveBitsForEachLevel(threads: Int, cores: Int, sockets: Int, expected: [UInt32]) {
        let topology = ProcessorTopology(threadsPerCore: threads, coresPerSocket: cores, sockets: sockets)
        #expect((0..<expected.count).map { topology.apicID(of: $0) } == expected)
    }

    @Test func identifiersThatDoNotFitAreCounted() {
        // Three cores take two bits and 85 sockets seven: the last would be 84 << 2 | 2.
        let wide = ProcessorTopology(threadsPerCore: 1, coresPerSocket: 3, sockets: 85)
        #expect(wide.apicIDs(254) == (0..<254).map { UInt8($0) })
        #expect(wide.apicIDs(6) == [0, 1, 2, 4, 5, 6])
    }
}
