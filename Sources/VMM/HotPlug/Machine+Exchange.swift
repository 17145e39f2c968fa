import EventLoop
import Hypervisor
import Options
import Virtio

extension Machine {
    /// Puts `device`, or none, into a slot of the machine, which may be running; the driver in the guest goes on with
    /// the device that it finds then.
    ///
    /// - Parameters:
    ///   - former: the slot's device when the command was taken; another command may have been quicker since.
    ///   - then: gets why it failed, and then nothing has changed; called in a later turn or at once.
    func exchange(
        slot number: Int, from former: (any MachineDevice)?, to device: (any MachineDevice)?,
        then: @escaping (MachineError?) -> Void
    ) {
        operations.add { [self] done in
            let finish = { (error: MachineError?) in
                then(error)
                done()
            }
            do throws(MachineError) {
                guard state != .ending else { throw MachineError("device", "the machine is ending") }
                guard let slot = parts.slots.slots.first(where: { $0.number == number }), slot.device === former,
                    device.map({ parts.slots.slot(ofDevice: $0.id) == nil }) ?? true
                else { throw MachineError("device", "another command has been quicker") }
                try SlotExchange(self, slot, device, then: finish).start()
            } catch {
                finish(error)
            }
        }
    }

    /// What keeps a driver in a slot without a device.
    static func placeholder(_ kind: SlotTable.Kind, _ id: String) -> DeviceMaker {
        if kind == .networkCard {
            let mac = MACAddress.random().octets
            return { _, minimumQueues throws(MachineError) in
                NullNetDevice(id: id, mac: mac, minimumQueues: minimumQueues)
            }
        }
        return { _, minimumQueues throws(MachineError) in NullBlockDevice(id: id, minimumQueues: minimumQueues) }
    }
}

/// Another device for one slot, step by step.
///
/// The device that leaves is drained while the guest runs. The vCPUs stand still only while the slot has no device.
private final class SlotExchange {
    private let machine: Machine
    private let slot: SlotTable.Slot
    private let device: (any MachineDevice)?
    private let next: DevicePlacement
    private let finish: (MachineError?) -> Void
    private var queuesInUse = QueueLimits.none
    private var nextQueues = QueueLimits.none
    private var attemptsLeft = 8

    private var number: Int { slot.number }

    /// How long requests in flight may take to end, in nanoseconds.
    private static let drainLimit: UInt64 = 10_000_000_000

    init(
        _ machine: Machine, _ slot: SlotTable.Slot, _ device: (any MachineDevice)?,
        then finish: @escaping (MachineError?) -> Void
    ) throws(MachineError) {
        self.machine = machine
        self.slot = slot
        self.device = device
        self.finish = finish
        next = try Self.placement(of: device, machine)
    }

    private static func placement(
        of device: (any MachineDevice)?, _ machine: Machine
    ) throws(MachineError) -> DevicePlacement {
        guard let iothread = device?.iothread else { return DevicePlacement(machine.parts.home) }
        guard let thread = machine.parts.iothreads.first(where: { $0.id == iothread }) else {
            throw MachineError("iothread", "'\(iothread)' has been taken away")
        }
        return DevicePlacement(thread, main: machine.reactor)
    }

    func start() throws(MachineError) {
        try device?.findHelper(machine.reactor.handle, machine.parts.iothreads)
        if machine.state == .running { try device?.prepareToRun() }
        device?.events = machine.parts.events
        askDriver()
    }

    private func askDriver() {
        slot.residence.run { [number] home, answer in
            answer(home.queuesInUse(number))
        } then: { [self] (queues: QueueLimits) in
            queuesInUse = queues
            make()
        }
    }

    private func make() {
        let id = device?.id ?? "slot \(number)"
        let maker = device?.maker ?? Machine.placeholder(slot.kind, id)
        next.run { [number, queuesInUse] home, answer in
            answer(
                Result { () throws(MachineError) in
                    try home.make(maker, id: id, slot: number, minimumQueues: queuesInUse)
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
        slot.residence.run { [number] home, answer in
            home.drain(number, limit: Self.drainLimit, answer)
        } then: { [self] (error: MachineError?) in
            if let error { discard { [self] in finish(error) } } else { stopVCPUs() }
        }
    }

    private func stopVCPUs() {
        guard machine.state == .running else { return detach() }
        machine.parts.processors.pause { [self] in detach() }
    }

    private func detach() {
        slot.residence.run { [number, nextQueues, queuesInUse] home, answer in
            home.detach(number, for: nextQueues, expecting: queuesInUse, answer)
        } then: { [self] (result: Result<VirtioMMIO?, MachineError>) in
            switch result {
            case .success(let transport?): attach(transport)
            case .success(nil): goBack { [self] in startOver() }
            case .failure(let error): goBack { [self] in finish(error) }
            }
        }
    }

    /// The driver was busy with the device: the guest may be booting.
    private func startOver() {
        attemptsLeft -= 1
        guard attemptsLeft > 0 else {
            let id = slot.device?.id ?? "slot \(number)"
            return finish(MachineError(id, "its driver keeps setting it up; try again when the guest has booted"))
        }
        askDriver()
    }

    private func attach(_ transport: VirtioMMIO) {
        let transport = SendOnce(transport)
        let goesOn = machine.state == .running
        next.run { [number] home, answer in
            if let transport = transport.take() { home.attach(number, transport, goesOn: goesOn) }
            answer(())
        } then: { [self] in
            machine.parts.slots.set(number, device, next)
            resumeVCPUs()
            // By then no turn keeps what served the device that left. An image is closed with it, and the process loses
            // its locks on a file with any descriptor of it that is closed.
            slot.residence.finishTurn { [self] in
                slot.device?.finish()
                machine.renewLocks()
                finish(nil)
            }
        }
    }

    private func resumeVCPUs() {
        if machine.state == .running { machine.parts.processors.resume() }
    }

    // MARK: Failures

    /// Lets the device that is there go on, and gives up the other one.
    private func goBack(then: @escaping () -> Void) {
        let goesOn = machine.state == .running
        slot.residence.run { [number] home, answer in
            if goesOn { home.resume(number) }
            answer(())
        } then: { [self] in
            resumeVCPUs()
            discard(then: then)
        }
    }

    private func discard(then: @escaping () -> Void) {
        next.run { [number] home, answer in
            home.discard(number)
            answer(())
        } then: {
            then()
        }
    }
}
