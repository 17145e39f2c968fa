package import EventLoop
package import Host
package import Memory
package import Platform

/// A virtio device behind memory-mapped registers, version 2 (virtio 1.2 section 4.2).
///
/// All of it, and the device, belongs to one reactor. A driver that leaves the order of the specification's section
/// 3.1.1 is not obeyed: its write has no effect.
package final class VirtioMMIO {
    package let device: VirtioDevice
    let worker: QueueWorker
    private let memory: GuestMemory
    private var interrupt: InterruptLine
    private var interruptStatus: InterruptStatus

    var status: DeviceStatus = [] { didSet { publishStanding() } }
    var deviceFeaturesSel: UInt32 = 0
    var driverFeaturesSel: UInt32 = 0
    var driverFeatures: UInt64 = 0
    var queueSel: UInt32 = 0
    var queueRegisters: [QueueRegisters]
    private(set) var configGeneration: UInt32 = 0
    /// The driver made the device ready while the reset before was still under way.
    private var activatesAfterReset = false

    /// What the driver has written about one queue.
    struct QueueRegisters {
        var size: UInt32 = 0
        var descriptorTable: UInt64 = 0
        var availableRing: UInt64 = 0
        var usedRing: UInt64 = 0
        /// Checked and translated when the driver declares it ready; cannot change until it is not.
        var queue: Virtqueue?
        var isDisabled = false
        /// The driver declared it ready, but it cannot work.
        var isRefused = false
    }

    /// Puts `device` behind registers.
    ///
    /// - Parameters:
    ///   - reactor: the calling thread's, on which device and registers live.
    ///   - interrupt: raised for used buffers and changes of the configuration.
    ///   - interruptStatus: where the causes are kept, for those who need not ask the device for them.
    /// - Throws: `EINVAL` for a device with too many queues, or why no eventfd can be made.
    package init(
        _ device: VirtioDevice, memory: GuestMemory, reactor: Reactor, interrupt: InterruptLine,
        interruptStatus: InterruptStatus = InterruptStatus()
    ) throws(Errno) {
        self.device = device
        self.memory = memory
        self.interrupt = interrupt
        self.interruptStatus = interruptStatus
        worker = try QueueWorker(device, memory: memory, reactor: reactor)
        queueRegisters = device.queueSizes.map { _ in QueueRegisters() }
        worker.attach(self)
    }

    /// The eventfd of each queue's doorbell, for KVM to signal when the driver writes the queue's number to
    /// `QueueNotify`.
    package var doorbells: [Int32] { device.queueSizes.indices.compactMap { worker.doorbell($0) } }

    /// Takes no new requests, and calls `done` when none is in flight.
    package func pause(_ done: @escaping () -> Void) { worker.pause(done) }

    /// Goes on after a pause.
    package func resume() { worker.resume() }

    // MARK: Changing the device behind the registers

    /// The queues that the driver has set up: another device must have as many, and as large ones, to take it over.
    package var shape: QueueShape {
        QueueShape(count: queueRegisters.count, size: queueRegisters.lazy.compactMap { $0.queue?.size }.max() ?? 0)
    }

    /// Gives the driver to another device's registers; call while paused and at rest, and `retire` this one before the
    /// other adopts.
    package func handOver() -> DriverState {
        let state = DriverState(
            status: status, deviceFeaturesSel: deviceFeaturesSel, driverFeaturesSel: driverFeaturesSel,
            driverFeatures: driverFeatures, queueSel: queueSel, queueRegisters: queueRegisters,
            interruptStatus: interruptStatus, configGeneration: configGeneration, interrupt: interrupt,
            doorbells: worker.giveUpQueues())
        interruptStatus = InterruptStatus()
        status = []
        queueRegisters = device.queueSizes.map { _ in QueueRegisters() }
        return state
    }

    /// Goes on where another device's registers were given up, and tells the driver that the configuration has
    /// changed. Features that the driver uses and this device does not have are not used from now on.
    ///
    /// The device must have queues enough for the driver; call before anything else.
    package func adopt(_ state: DriverState) {
        interruptStatus = state.interruptStatus
        status = state.status
        deviceFeaturesSel = state.deviceFeaturesSel
        driverFeaturesSel = state.driverFeaturesSel
        driverFeatures = state.driverFeatures
        queueSel = state.queueSel
        configGeneration = state.configGeneration
        for (index, registers) in zip(queueRegisters.indices, state.queueRegisters) {
            queueRegisters[index] = registers
        }
        interrupt = InterruptLine(state.interrupt, on: worker.reactor)
        worker.adopt(state.doorbells)
        guard status.contains(.driverOK) else { return }
        if status.isDisjoint(with: [.failed, .deviceNeedsReset]) {
            worker.activate(
                queueRegisters.map(\.queue),
                features: Features(rawValue: driverFeatures).intersection(device.offeredFeatures))
        }
        configurationChanged()
    }

    /// Ends the device: call once its addresses are detached. Calls `done` when nothing is in flight any more.
    package func retire(_ done: @escaping () -> Void) { worker.retire(done) }

    // MARK: The driver's progress

    /// What the driver reads as status: until a reset is complete, that the device needs it.
    var visibleStatus: DeviceStatus {
        worker.isComingToRest ? status.union(.deviceNeedsReset) : status
    }

    /// Whether queues can be set up now.
    var acceptsQueues: Bool {
        status.contains(.featuresOK) && status.isDisjoint(with: [.driverOK, .failed, .deviceNeedsReset])
    }

    /// Whether features can be chosen now.
    var acceptsFeatures: Bool {
        status.contains(.driver) && status.isDisjoint(with: [.featuresOK, .failed])
    }

    func writeStatus(_ value: UInt32) {
        guard value != 0 else { return reset() }
        let wanted = DeviceStatus(rawValue: value).intersection(.settable)
        // Only a reset takes bits away.
        guard wanted.isSuperset(of: status.intersection(.settable)) else { return }
        if wanted.contains(.failed) { return giveUp() }
        if wanted.contains(.acknowledge) { status.insert(.acknowledge) }
        if wanted.contains(.driver), status.contains(.acknowledge) { status.insert(.driver) }
        if wanted.contains(.featuresOK), status.contains(.driver), !status.contains(.featuresOK), featuresAreSound {
            status.insert(.featuresOK)
        }
        if wanted.contains(.driverOK), status.contains(.featuresOK), !status.contains(.driverOK) {
            status.insert(.driverOK)
            activate()
        }
    }

    private var featuresAreSound: Bool {
        let features = Features(rawValue: driverFeatures)
        return features.isSubset(of: device.offeredFeatures) && features.contains(.version1)
            && device.accepts(features)
    }

    private func activate() {
        if worker.isComingToRest {
            activatesAfterReset = true
        } else if let index = queueRegisters.firstIndex(where: \.isRefused) {
            worker.fail("the driver started it without queue \(index), which was refused")
        } else {
            worker.activate(queueRegisters.map(\.queue), features: Features(rawValue: driverFeatures))
        }
    }

    /// The driver has given up: nothing is processed until it resets the device.
    private func giveUp() {
        status.insert(.failed)
        activatesAfterReset = false
        for index in queueRegisters.indices { worker.disable(index) }
    }

    /// Starts a reset. The registers are as new at once; the status reads 0 when no request is in flight any more.
    ///
    /// A driver that does not wait for that may go on: the device is activated when it has come to rest.
    private func reset() {
        status = []
        deviceFeaturesSel = 0
        driverFeaturesSel = 0
        driverFeatures = 0
        queueSel = 0
        queueRegisters = device.queueSizes.map { _ in QueueRegisters() }
        interruptStatus.clear()
        activatesAfterReset = false
        guard worker.hasDriver, !worker.isComingToRest else { return }
        worker.reset { [weak self] in self?.resetCompleted() }
    }

    private func resetCompleted() {
        interruptStatus.clear()
        guard activatesAfterReset else { return }
        activatesAfterReset = false
        activate()
    }

    // MARK: Queues

    func setQueueReady(_ isReady: Bool) {
        let index = Int(queueSel)
        guard queueRegisters.indices.contains(index) else { return }
        if isReady {
            guard acceptsQueues, queueRegisters[index].queue == nil else { return }
            queueRegisters[index].queue = makeQueue(index)
            queueRegisters[index].isRefused = queueRegisters[index].queue == nil
        } else if worker.isActivated, !worker.isComingToRest {
            // Without VIRTIO_F_RING_RESET there is no way back but a reset of the device.
            queueRegisters[index].isDisabled = true
            worker.disable(index)
        } else if acceptsQueues {
            queueRegisters[index].queue = nil
            queueRegisters[index].isRefused = false
        }
    }

    /// A queue the driver took out of use is ready until its last request is done.
    func isQueueReady(_ index: Int) -> Bool {
        guard queueRegisters.indices.contains(index), queueRegisters[index].queue != nil else { return false }
        return !queueRegisters[index].isDisabled || worker.inFlight(index) > 0
    }

    private func makeQueue(_ index: Int) -> Virtqueue? {
        let registers = queueRegisters[index]
        let maximum = device.queueSizes[index]
        do throws(QueueError) {
            guard let size = UInt16(exactly: registers.size) else {
                throw .size(registers.size, maximum: maximum)
            }
            let layout = QueueLayout(
                size: size, descriptorTable: GuestAddress(registers.descriptorTable),
                availableRing: GuestAddress(registers.availableRing), usedRing: GuestAddress(registers.usedRing))
            return try Virtqueue(
                index: index, layout: layout, maximumSize: maximum,
                features: Features(rawValue: driverFeatures), memory: memory)
        } catch {
            worker.complain("queue \(index) was refused: \(error)")
            return nil
        }
    }

    // MARK: Interrupts

    func acknowledgeInterrupt(_ causes: UInt32) { interruptStatus.acknowledge(causes) }

    /// What the driver reads as the interrupt's causes.
    var interruptCauses: UInt32 { interruptStatus.value }

    /// An interrupt that somebody else raised says nothing here, so such a device always tells of used buffers: the
    /// driver looks at all queues then, which is right for an interrupt of the other cause too.
    private func publishStanding() {
        let isStanding = device.interruptsDirectly && status.contains(.driverOK)
        interruptStatus.setStanding(isStanding ? InterruptCause.usedBuffer.rawValue : 0)
    }

    private func raise(_ cause: InterruptCause) {
        guard status.contains(.driverOK) else { return }
        interruptStatus.insert(cause.rawValue)
        interrupt.raise()
    }
}

extension VirtioMMIO: VirtioTransport {
    func usedBuffers(inQueues queues: UInt64) {
        raise(.usedBuffer)
    }

    func interrupt(ofQueue index: Int) -> Int32? { interrupt.descriptor }

    func configurationChanged() {
        configGeneration &+= 1
        raise(.configurationChange)
    }

    func deviceNeedsReset() {
        // Between two drivers there is nobody to tell.
        guard !worker.isComingToRest else { return }
        status.insert(.deviceNeedsReset)
        raise(.configurationChange)
    }
}
