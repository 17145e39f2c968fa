import EventLoop
import Virtio

/// Gives a slot's driver another device, while the guest runs. It belongs to the main reactor.
///
///     ask driver ─▶ make ─▶ drain ─▶ stop vCPUs ─▶ detach ─▶ attach ─▶ resume vCPUs ─▶ done
///         ▲           │       │                       │
///         │           └───────┴───────────────────────┤ failed: the former device runs on
///         └───────────────────────────────────────────┘ the driver has changed its queues meanwhile: start over
///
/// The former device is drained with the vCPUs running, for a limited time. The vCPUs stop only while the slot has no
/// device.
final class DeviceSwap {
    /// The slot, and the reactors that its devices live on.
    struct Slot {
        let number: Int
        let former: DevicePlacement
        let next: DevicePlacement
    }

    /// How long requests in flight may take to end, in nanoseconds.
    static let drainLimit: UInt64 = 10_000_000_000
    /// How often a driver may set its queues up anew before the swap fails.
    private static let mostAttempts = 8

    private let slot: Slot
    private let id: String
    private let maker: () -> DeviceMaker
    private let runControl: RunControl
    private let drainLimit: UInt64
    private let attached: () -> Void
    private let finish: (MachineError?) -> Void
    private var queuesInUse = QueueLimits.none
    private var nextQueues = QueueLimits.none
    private var attemptsLeft = DeviceSwap.mostAttempts

    /// - Parameters:
    ///   - id: of the next device, for errors.
    ///   - maker: answers with what makes the next device, which serves for one attempt.
    ///   - runControl: stops the vCPUs.
    ///   - attached: called when the next device is in the slot, before the vCPUs run again.
    ///   - finish: gets why it failed, and then nothing has changed. Otherwise it is called when nothing of the former
    ///     device's reactor keeps the former device any more.
    init(
        _ slot: Slot, id: String, _ maker: @escaping () -> DeviceMaker, _ runControl: RunControl,
        drainLimit: UInt64 = DeviceSwap.drainLimit, attached: @escaping () -> Void,
        then finish: @escaping (MachineError?) -> Void
    ) {
        self.slot = slot
        self.id = id
        self.maker = maker
        self.runControl = runControl
        self.drainLimit = drainLimit
        self.attached = attached
        self.finish = finish
    }

    /// Begins; only within an operation of the queue.
    func start() { askDriver() }

    private func askDriver() {
        slot.former.run { [number = slot.number] devices, answer in
            answer(devices.queuesInUse(number))
        } then: { [self] (queues: QueueLimits) in
            queuesInUse = queues
            makeNext()
        }
    }

    private func makeNext() {
        slot.next.run { [number = slot.number, id, make = maker(), queuesInUse] devices, answer in
            answer(
                Result { () throws(MachineError) in
                    try devices.make(make, id: id, slot: number, minimumQueues: queuesInUse)
                })
        } then: { [self] (result: Result<QueueLimits, MachineError>) in
            switch result {
            case .success(let queues):
                nextQueues = queues
                drain()
            case .failure(let error): finish(error)
            }
        }
    }

    private func drain() {
        slot.former.run { [number = slot.number, drainLimit] devices, answer in
            devices.drain(number, limit: drainLimit, answer)
        } then: { [self] (error: MachineError?) in
            guard let error else { return stopVCPUs() }
            discard { [self] in finish(error) }
        }
    }

    private func stopVCPUs() {
        runControl.pauseVCPUs { [self] in detach() }
    }

    private func detach() {
        slot.former.run { [number = slot.number, nextQueues, queuesInUse] devices, answer in
            devices.detach(number, for: nextQueues, expecting: queuesInUse, answer)
        } then: { [self] (result: Result<VirtioMMIO?, MachineError>) in
            switch result {
            case .success(let transport?): attach(transport)
            case .success(nil): goBack { [self] in startOver() }
            case .failure(let error): goBack { [self] in finish(error) }
            }
        }
    }

    private func attach(_ transport: VirtioMMIO) {
        let transport = SendOnce(transport)
        let isRunning = runControl.state == .running
        slot.next.run { [number = slot.number] devices, answer in
            if let transport = transport.take() { devices.attach(number, transport, goesOn: isRunning) }
            answer(())
        } then: { [self] in
            attached()
            runControl.resumeVCPUs()
            slot.former.finishTurn { [self] in finish(nil) }
        }
    }

    // MARK: Failures

    /// The driver was busy with the device: the guest may be booting.
    private func startOver() {
        attemptsLeft -= 1
        guard attemptsLeft > 0 else {
            return finish(
                MachineError(id, "the slot's driver keeps setting it up; try again when the guest has booted"))
        }
        askDriver()
    }

    /// Lets the former device run on, and gives up the next one.
    private func goBack(then: @escaping () -> Void) {
        let isRunning = runControl.state == .running
        slot.former.run { [number = slot.number] devices, answer in
            if isRunning { devices.resume(number) }
            answer(())
        } then: { [self] in
            runControl.resumeVCPUs()
            discard(then: then)
        }
    }

    private func discard(then: @escaping () -> Void) {
        slot.next.run { [number = slot.number] devices, answer in
            devices.discard(number)
            answer(())
        } then: {
            then()
        }
    }
}
