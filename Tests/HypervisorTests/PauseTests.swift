import Bus
import EventLoop
import Host
import Memory
import Synchronization
import Testing

@testable import Hypervisor

@Suite(.enabled(if: hasKVM), .serialized)
struct PauseTests {
    @Test(arguments: [MachineTests.spin, MachineTests.sleep])
    func pausingAndStoppingReachesABusyOrIdleGuest(code: [UInt8]) throws {
        let guest = try TinyGuest(code)
        let paused = Futex(0)
        let stopped = Futex(0)
        let thread = VCPUThread(guest.vcpu, bus: SystemBus(vcpus: 1), startsPaused: true) { report in
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

    /// Runs `code`, whose accesses reach `recorder`, until the thread reports a pause that `recorder` has asked for;
    /// then looks at the guest, and lets it run on to its end.
    ///
    /// - Returns: the registers of the paused vCPU.
    private func pause(
        _ code: [UInt8], _ recorder: Recorder, at addresses: AddressRange, whilePaused: () throws -> Void = {}
    ) throws -> (rip: UInt64, rax: UInt64, rcx: UInt64) {
        let rig = try GuestRig(code)
        #expect(rig.devices.attach(recorder, at: addresses))
        let handle = rig.reactor.handle
        let isPaused = Atomic<Bool>(false)
        let thread = VCPUThread(rig.guest.vcpu, bus: rig.bus, startsPaused: false) { report in
            if case .paused = report { isPaused.store(true, ordering: .releasing) }
            if case .ended(.shutdown) = report { handle.send { $0.stop() } }
            handle.send { _ in }
        }
        let order: () -> Void = { thread.pause() }
        if recorder.onRead == nil { recorder.onRead = order }
        if recorder.onWrite == nil { recorder.onWrite = order }
        _ = try Signals.takeOver()
        try thread.start()
        while !isPaused.load(ordering: .acquiring) { rig.reactor.turn(waiting: true) }
        (recorder.onRead, recorder.onWrite) = ({}, {})
        let state = try rig.guest.state()
        try whilePaused()
        thread.resume()
        rig.reactor.run()
        thread.join()
        return state
    }

    /// The guest's instruction is over when its vCPU stands still: a copy of its state neither repeats nor loses it.
    @Test func aPausedVCPUHasFinishedItsPortAccess() throws {
        // mov dx, 0x3f8; in al, dx; ud2
        let recorder = Recorder()
        recorder.writes = [BusAccess(isWrite: true, size: 1, offset: 0)]
        let state = try pause(
            [0x66, 0xba, 0xf8, 0x03, 0xec, 0x0f, 0x0b], recorder, at: .ports(0x3f8, count: 8))
        #expect(state.rip == TinyGuest.start + 5)
        #expect(state.rax & 0xff == 1)
    }

    @Test func aPausedVCPUHasFinishedItsPortWrite() throws {
        // mov dx, 0x3f8; out dx, al; ud2
        let recorder = Recorder()
        let state = try pause(
            [0x66, 0xba, 0xf8, 0x03, 0xee, 0x0f, 0x0b], recorder, at: .ports(0x3f8, count: 8))
        #expect(state.rip == TinyGuest.start + 5)
        #expect(recorder.writes.count == 1)
    }

    @Test func aPausedVCPUHasFinishedItsMemoryAccess() throws {
        // mov eax, [0xf0100010]; ud2
        let recorder = Recorder()
        recorder.writes = [BusAccess(isWrite: true, size: 1, offset: 0)]
        let state = try pause(
            [0xa1, 0x10, 0x00, 0x10, 0xf0, 0x0f, 0x0b], recorder, at: .memory(0xf010_0000, count: 0x200))
        #expect(state.rip == TinyGuest.start + 5)
        #expect(state.rax == 1)
    }

    /// One that crosses two pages leaves the guest twice for one instruction.
    @Test func aPausedVCPUHasFinishedBothHalvesOfAnAccess() throws {
        // mov [0xf0100ffe], eax; ud2
        let recorder = Recorder()
        let state = try pause(
            [0xa3, 0xfe, 0x0f, 0x10, 0xf0, 0x0f, 0x0b], recorder, at: .memory(0xf010_0000, count: 0x2000)
        ) {
            #expect(recorder.writes.map(\.offset) == [0xffe, 0x1000])
        }
        #expect(state.rip == TinyGuest.start + 5)
        #expect(recorder.writes.count == 2)
    }

    /// A string may stand still between two of its elements, and then goes on with the next.
    @Test func aStringLosesAndRepeatsNoElement() throws {
        // mov edx, 0x3f8; mov esi, 0x1000; mov ecx, 40; cld; rep outsb; ud2
        var code: [UInt8] = [
            0xba, 0xf8, 0x03, 0x00, 0x00, 0xbe, 0x00, 0x10, 0x00, 0x00, 0xb9, 40, 0x00, 0x00, 0x00, 0xfc, 0xf3, 0x6e,
            0x0f, 0x0b,
        ]
        code += (0..<20).map { 0xa0 + $0 }
        let recorder = Recorder()
        var left: UInt64 = 0
        let state = try pause(code, recorder, at: .ports(0x3f8, count: 8)) {
            left = 40 - UInt64(recorder.writes.count)
        }
        #expect(state.rcx == left)
        #expect(recorder.writes.map(\.value) == code.map { UInt64($0) })
    }
}
