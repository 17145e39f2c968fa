import Control
import EventLoop
import TestSupport
import Testing

@testable import VMM

/// vCPUs that do nothing by themselves: the test says when one has paused or ended.
final class FakeVCPUs: VCPUControl {
    var calls: [String] = []
    /// Whether pauses and ends are answered at once.
    var answersAtOnce = true
    private var whenPaused: (() -> Void)?
    private var whenEnded: (() -> Void)?

    func pause(_ done: @escaping () -> Void) {
        calls.append("pause")
        whenPaused = done
        if answersAtOnce { notePaused() }
    }

    func resume() { calls.append("resume") }

    func stop(_ done: @escaping () -> Void) {
        calls.append("stop")
        whenEnded = done
        if answersAtOnce { noteEnded() }
    }

    func notePaused() { whenPaused.take()?() }

    /// A vCPU that has ended is in the guest no more: a pause is over, too.
    func noteEnded() {
        notePaused()
        whenEnded.take()?()
    }
}

/// Devices whose requests end when the test says so.
final class FakeDevices: DeviceControl {
    var calls: [String] = []
    var answersAtOnce = true
    /// Why the guest must not run.
    var refusal: MachineError?
    private var drains: [() -> Void] = []

    func prepareToRun() throws(MachineError) {
        calls.append("prepare")
        if let refusal { throw refusal }
    }

    func resume() { calls.append("resume") }

    func drain(_ done: @escaping () -> Void) {
        calls.append("drain")
        drains.append(done)
        if answersAtOnce { noteIdle() }
    }

    func noteIdle() {
        let done = drains
        drains = []
        for done in done { done() }
    }
}

/// Clients that note what they are told.
final class FakeClients: QMPClients {
    var events: [QMPEvent] = []
    var answersAtOnce = true
    var isClosed = false
    private var whenClosed: (() -> Void)?

    var names: [String] { events.map(\.name.rawValue) }

    func post(_ event: QMPEvent) { events.append(event) }

    func closeWithoutRing() { isClosed = true }

    func close(within nanoseconds: UInt64, then done: @escaping () -> Void) {
        isClosed = true
        whenClosed = done
        if answersAtOnce { noteClosed() }
    }

    func noteClosed() { whenClosed.take()?() }
}

/// Run control on a reactor of its own, with everything around it made up.
final class RunControlRig {
    let reactor: Reactor
    let operations = SerialQueue()
    let events: EventSink
    let clients = FakeClients()
    let vcpus = FakeVCPUs()
    let devices = FakeDevices()
    let control: RunControl
    /// The answers to commands, in their order; an empty one for success.
    var answers: [String] = []

    init(limits: RunControl.Limits = .init(), connects: Bool = true) throws {
        reactor = try Reactor(name: "test")
        events = EventSink(reactor)
        control = RunControl(reactor, operations: operations, events: events, limits: limits)
        guard connects else { return }
        events.connect(clients, on: reactor)
        control.connect(vcpus, devices)
    }

    func pause() { control.pause { [self] in answers.append($0?.description ?? "") } }

    func resume() { control.resume { [self] in answers.append($0?.description ?? "") } }

    /// Everything answers when the test says so.
    func holdAll() {
        vcpus.answersAtOnce = false
        devices.answersAtOnce = false
        clients.answersAtOnce = false
    }

    /// A machine whose guest runs, with an empty record.
    static func running(limits: RunControl.Limits = .init()) throws -> RunControlRig {
        let rig = try RunControlRig(limits: limits)
        try rig.control.start()
        rig.vcpus.calls = []
        rig.devices.calls = []
        return rig
    }
}
