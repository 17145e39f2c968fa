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
}
