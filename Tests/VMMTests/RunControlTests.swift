import Bus
import Control
import EventLoop
import Hypervisor
import TestSupport
import Testing

@testable import VMM

private let ending = "The machine is ending"

@Suite struct RunControlTests {
    // MARK: Start

    @Test func startsDevicesBeforeVCPUs() throws {
        let rig = try RunControlRig()
        #expect(rig.control.state == .created && rig.control.status == .paused && !rig.control.isRunning)
        try rig.control.start()
        #expect(rig.devices.calls == ["prepare", "resume"] && rig.vcpus.calls == ["resume"])
        #expect(rig.control.state == .running && rig.control.status == .running && rig.control.isRunning)
    }

    @Test func whatADeviceRefusesDoesNotStart() throws {
        let rig = try RunControlRig()
        rig.devices.refusal = MachineError("-drive id=a", "is locked")
        #expect(throws: MachineError.self) { try rig.control.start() }
        #expect(rig.control.state == .created && rig.vcpus.calls.isEmpty)
        rig.resume()
        #expect(rig.answers == ["-drive id=a: is locked"])
        #expect(rig.control.state == .created && rig.clients.names.isEmpty && !rig.operations.isBusy)
        rig.devices.refusal = nil
        rig.resume()
        #expect(rig.answers.last == "" && rig.control.state == .running && rig.clients.names == ["RESUME"])
    }

    // MARK: Pause and resume

    @Test func pausesVCPUsBeforeDevices() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        rig.pause()
        #expect(rig.control.state == .pausing && rig.control.status == .running && rig.control.isRunning)
        #expect(rig.vcpus.calls == ["pause"] && rig.devices.calls.isEmpty)
        rig.vcpus.notePaused()
        #expect(rig.devices.calls == ["drain"] && rig.answers.isEmpty && rig.clients.names.isEmpty)
        rig.devices.noteIdle()
        #expect(rig.control.state == .paused && rig.control.status == .paused)
        #expect(rig.answers == [""] && rig.clients.names == ["STOP"])
    }

    @Test func whatStandsIsPausedAtOnce() throws {
        let rig = try RunControlRig()
        rig.pause()
        #expect(rig.answers == [""] && rig.control.state == .created && rig.vcpus.calls.isEmpty)
        try rig.control.start()
        rig.pause()
        rig.pause()
        #expect(rig.answers == ["", "", ""] && rig.clients.names == ["STOP"])
        #expect(rig.vcpus.calls == ["resume", "pause"])
    }

    @Test func whatRunsIsResumedAtOnce() throws {
        let rig = try RunControlRig.running()
        rig.resume()
        #expect(rig.answers == [""] && rig.clients.names.isEmpty && rig.vcpus.calls.isEmpty)
    }

    @Test func aPauseWhilePausingIsAnsweredWithTheFirst() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        rig.pause()
        rig.pause()
        rig.vcpus.notePaused()
        #expect(rig.answers.isEmpty)
        rig.devices.noteIdle()
        #expect(rig.answers == ["", ""] && rig.vcpus.calls == ["pause"] && rig.devices.calls == ["drain"])
    }

    /// It used to be told that the machine ends.
    @Test func aResumeWhilePausingComesAfterThePause() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        rig.pause()
        rig.resume()
        #expect(rig.answers.isEmpty && rig.control.state == .pausing)
        rig.vcpus.notePaused()
        rig.devices.noteIdle()
        #expect(rig.answers == ["", ""] && rig.control.state == .running)
        #expect(rig.clients.names == ["STOP", "RESUME"])
        #expect(rig.vcpus.calls == ["pause", "resume"] && rig.devices.calls == ["drain", "prepare", "resume"])
    }

    @Test func aDeviceThatRefusesToGoOnLeavesTheMachinePaused() throws {
        let rig = try RunControlRig.running()
        rig.pause()
        rig.devices.refusal = MachineError("-drive id=a", "is locked")
        rig.resume()
        #expect(rig.answers == ["", "-drive id=a: is locked"] && rig.control.state == .paused)
        #expect(rig.vcpus.calls == ["pause"])
    }

    @Test func nothingNeedsVCPUsOrClients() throws {
        let rig = try RunControlRig(connects: false)
        try rig.control.start()
        rig.pause()
        rig.resume()
        #expect(rig.answers == ["", ""])
        rig.control.end(.quit)
        rig.reactor.run()
        #expect(rig.vcpus.calls.isEmpty && rig.clients.names.isEmpty)
    }

    // MARK: Operations beside it

    @Test func anOperationFindsNoVCPUInTheGuest() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        var isAlone = false
        rig.control.pauseVCPUs { isAlone = true }
        #expect(!isAlone && rig.vcpus.calls == ["pause"])
        rig.vcpus.notePaused()
        #expect(isAlone && rig.control.state == .running && rig.devices.calls.isEmpty)
        rig.control.resumeVCPUs()
        #expect(rig.vcpus.calls == ["pause", "resume"] && rig.clients.names.isEmpty)
    }

    @Test func anOperationLeavesAPausedMachinePaused() throws {
        let rig = try RunControlRig.running()
        rig.pause()
        var isAlone = false
        rig.control.pauseVCPUs { isAlone = true }
        rig.control.resumeVCPUs()
        #expect(isAlone && rig.vcpus.calls == ["pause"] && rig.control.state == .paused)
    }

    @Test func anEndDuringAnOperationIsNotUndone() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        var isAlone = false
        rig.control.pauseVCPUs { isAlone = true }
        rig.control.end(.quit)
        rig.vcpus.noteEnded()
        #expect(isAlone, "the operation comes to its end")
        rig.control.resumeVCPUs()
        #expect(rig.vcpus.calls == ["pause", "stop"] && rig.control.state == .ending)
    }

    @Test func aPauseWaitsForAnOperation() throws {
        let rig = try RunControlRig.running()
        var done: (() -> Void)?
        rig.operations.add { done = $0 }
        rig.pause()
        #expect(rig.vcpus.calls.isEmpty && rig.answers.isEmpty)
        done?()
        #expect(rig.answers == [""] && rig.control.state == .paused)
    }

    // MARK: End

    @Test(arguments: [
        (EndCause.quit, ["SHUTDOWN"]), (.hostPowerDown, ["POWERDOWN", "SHUTDOWN"]),
        (.guestReset, ["RESET", "SHUTDOWN"]),
        (.processorFailure("x"), ["SHUTDOWN"]),
    ])
    func endsInGoodOrder(cause: EndCause, events: [String]) throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        rig.control.end(cause)
        #expect(rig.control.state == .ending && rig.control.status == .other && !rig.control.isRunning)
        #expect(rig.clients.names == events && rig.vcpus.calls == ["stop"] && rig.clients.isClosed)
        rig.clients.noteClosed()
        rig.vcpus.noteEnded()
        #expect(rig.devices.calls == ["drain"])
        rig.devices.noteIdle()
        rig.reactor.run()
        #expect(rig.control.endCause == cause)
    }

    @Test func theFirstCauseCounts() throws {
        let rig = try RunControlRig.running()
        rig.control.end(.signal(15))
        rig.control.end(.quit)
        rig.control.vcpuEnded(0, .shutdown)
        #expect(rig.control.endCause == .signal(15) && rig.clients.names == ["SHUTDOWN"])
        #expect(rig.vcpus.calls == ["stop"])
    }

    @Test func anEndWhilePausingFailsThePauseBeforeTheServiceCloses() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        rig.pause()
        rig.resume()
        rig.control.end(.quit)
        #expect(rig.answers == [ending])
        rig.vcpus.noteEnded()
        rig.devices.noteIdle()
        rig.clients.noteClosed()
        rig.reactor.run()
        #expect(rig.answers == [ending, ending], "what waited behind the pause is answered, too")
        #expect(rig.clients.names == ["SHUTDOWN"] && rig.control.state == .ending)
    }

    @Test func anEndWhileDrainingFailsThePause() throws {
        let rig = try RunControlRig.running()
        rig.holdAll()
        rig.pause()
        rig.vcpus.notePaused()
        rig.control.end(.signal(2))
        #expect(rig.answers == [ending])
        rig.vcpus.noteEnded()
        #expect(rig.devices.calls == ["drain", "drain"])
        rig.devices.noteIdle()
        rig.clients.noteClosed()
        rig.reactor.run()
        #expect(rig.answers == [ending] && rig.clients.names == ["SHUTDOWN"])
    }

    @Test func nothingRunsOrPausesAfterTheEnd() throws {
        let rig = try RunControlRig.running()
        rig.control.end(.quit)
        rig.pause()
        rig.resume()
        #expect(rig.answers == [ending, ending] && rig.vcpus.calls == ["stop"])
    }

    @Test(arguments: ["vcpus", "devices", "clients"])
    func whatNeverEndsIsLeft(part: String) throws {
        let rig = try RunControlRig.running(limits: RunControl.Limits(clients: 0, all: 0))
        rig.vcpus.answersAtOnce = part != "vcpus"
        rig.devices.answersAtOnce = part != "devices"
        rig.clients.answersAtOnce = part != "clients"
        rig.control.end(.quit)
        // It returns.
        rig.reactor.run()
        #expect(rig.control.endCause == .quit)
    }

    @Test func aPauseThatNeverEndsDoesNotKeepTheMachineFromEnding() throws {
        let rig = try RunControlRig.running(limits: RunControl.Limits(clients: 0, all: 0))
        rig.devices.answersAtOnce = false
        rig.pause()
        #expect(rig.control.state == .pausing)
        rig.control.end(.quit)
        rig.reactor.run()
        #expect(rig.answers == [ending])
    }

    // MARK: The guest

    @Test func itsPanicIsToldOnceAndTheGuestRunsOn() throws {
        let rig = try RunControlRig.running()
        for _ in 0..<3 { rig.control.act(.panicked) }
        for _ in 0..<3 { rig.control.act(.crashLoaded) }
        #expect(rig.clients.names == ["GUEST_PANICKED", "GUEST_CRASHLOADED"])
        #expect(rig.control.status == .guestPanicked && rig.control.isRunning && rig.control.state == .running)
        rig.control.act(.reset)
        #expect(rig.control.endCause == .guestPanic(resets: true))
    }

    @Test func itsPanicIsNotToldOnceTheMachineEnds() throws {
        let rig = try RunControlRig.running()
        rig.control.end(.quit)
        rig.control.act(.panicked)
        rig.control.act(.crashLoaded)
        #expect(rig.clients.names == ["SHUTDOWN"] && !rig.control.hasPanicked)
    }

    @Test func itsRegistersEndTheMachine() throws {
        for (action, cause) in [(BusAction.powerOff, EndCause.guestPowerOff), (.reset, .guestReset)] {
            let rig = try RunControlRig.running()
            rig.control.act(.none)
            #expect(rig.control.endCause == nil)
            rig.control.act(action)
            #expect(rig.control.endCause == cause)
        }
    }

    @Test(
        arguments: [
            (.shutdown, .guestTripleFault), (.systemEvent(.shutdown), .guestPowerOff),
            (.systemEvent(.reset), .guestReset), (.systemEvent(.crash), nil), (.interrupted, nil),
        ] as [(VCPUExit, EndCause?)])
    func aVCPUThatEndsEndsTheMachine(exit: VCPUExit, cause: EndCause?) throws {
        let rig = try RunControlRig.running()
        rig.control.vcpuEnded(3, exit)
        #expect(rig.control.endCause == cause ?? .processorFailure("vCPU 3 cannot go on: \(exit)"))
        #expect(rig.control.endCause?.status == (cause == nil ? 2 : 0))
    }
}
