package import EventLoop
package import Host
package import Memory

/// How far a driver has come with a device (virtio 1.2 section 3): status, features, queues, activation, reset.
///
/// It knows no transport: the registers of virtio-mmio, and those of virtio-pci, are codecs over it, which name queues
/// by number and values as they are. A driver's write out of the order of section 3.1.1 has no effect.
///
/// It outlives its device: another one can take the place of the first, on this reactor or another, and the driver only
/// sees the configuration change. All of it belongs to the device's reactor.
package final class VirtioState {
    package let interrupt: VirtioInterrupt
    private let memory: GuestMemory
    private let bells: Doorbells
    /// Nil while one device has left and the next has not come.
    private var worker: QueueWorker?
    private var status: DeviceStatus = [] { didSet { interrupt.setEnabled(status.contains(.driverOK)) } }
    private var driverFeatures: UInt64 = 0
    private var queues: QueueTable
    /// Counts the changes of the configuration.
    package private(set) var configGeneration: UInt32 = 0
    /// The driver made the device ready while the reset before was still under way.
    private var activatesAfterReset = false
    /// Whether the device takes no requests until `resume`.
    package private(set) var isPaused = false

    /// A state without driver.
    ///
    /// - Parameter reactor: the calling thread's, on which the device lives.
    /// - Throws: `EINVAL` for a device with too many queues, or why no eventfd can be made.
    package init(
        _ device: VirtioDevice, memory: GuestMemory, reactor: Reactor, interrupt: VirtioInterrupt
    ) throws(Errno) {
        self.memory = memory
        self.interrupt = interrupt
        bells = try Doorbells(device.queueSizes.count)
        queues = QueueTable(count: 0)
        serve(device, on: reactor)
    }

    private func serve(_ device: VirtioDevice, on reactor: Reactor) {
        queues.resize(device.queueSizes.count)
        worker = QueueWorker(
            device, of: self, memory: memory, reactor: reactor, interrupt: interrupt, doorbells: bells,
            isPaused: isPaused)
    }

    /// The device; nil while one has left and the next has not come.
    package var device: VirtioDevice? { worker?.device }

    // MARK: Configuration and features

    /// Reads `size` (1, 2, 4 or 8) bytes of the device's configuration.
    package func readConfig(at offset: Int, size: Int) -> UInt64 { device?.readConfig(at: offset, size: size) ?? 0 }

    /// Writes to the device's configuration.
    package func writeConfig(at offset: Int, size: Int, value: UInt64) {
        if status.contains(.driver) { device?.writeConfig(at: offset, size: size, value: value) }
    }

    /// 32 of the features that the device offers, from `32 * word` on.
    package func offeredFeatures(word: UInt32) -> UInt32 { Self.word(word, of: device?.offeredFeatures.rawValue ?? 0) }

    /// 32 of the features that the driver has chosen.
    package func chosenFeatures(word: UInt32) -> UInt32 { Self.word(word, of: driverFeatures) }

    /// The driver chooses 32 of its features.
    package func chooseFeatures(word: UInt32, _ value: UInt32) {
        guard status.contains(.driver), status.isDisjoint(with: [.featuresOK, .failed]), word < 2 else { return }
        let shift = UInt64(32 * word)
        driverFeatures = driverFeatures & ~(0xffff_ffff << shift) | UInt64(value) << shift
    }

    private static func word(_ word: UInt32, of value: UInt64) -> UInt32 {
        word < 2 ? UInt32(truncatingIfNeeded: value >> UInt64(32 * word)) : 0
    }

    /// What the device uses; all that the driver has chosen, unless it chose with another device.
    private var features: Features {
        Features(rawValue: driverFeatures).intersection(device?.offeredFeatures ?? [])
    }

    private var featuresAreSound: Bool {
        let features = Features(rawValue: driverFeatures)
        return features == self.features && features.contains(.version1) && device?.accepts(features) ?? false
    }

    // MARK: Status

    /// What the driver reads as status: until a reset is complete, that the device needs it.
    package var visibleStatus: DeviceStatus {
        worker?.isComingToRest ?? false ? status.union(.deviceNeedsReset) : status
    }

    /// The driver writes the status; 0 resets the device.
    package func writeStatus(_ value: UInt32) {
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

    private func activate() {
        guard let worker else { return }
        if worker.isComingToRest {
            activatesAfterReset = true
        } else if let index = queues.refused {
            worker.fail("the driver started it without queue \(index), which was refused")
        } else {
            worker.activate(queues.queues, features: features)
        }
    }

    /// The driver has given up: nothing is processed until it resets the device.
    private func giveUp() {
        status.insert(.failed)
        activatesAfterReset = false
        for index in queues.all.indices { worker?.disable(index) }
    }

    /// Starts a reset. What the driver wrote is forgotten at once; the status reads 0 when no request is in flight.
    ///
    /// A driver that does not wait for that may go on: the device is activated when it has come to rest.
    private func reset() {
        status = []
        driverFeatures = 0
        queues = QueueTable(count: device?.queueSizes.count ?? 0)
        interrupt.clear()
        activatesAfterReset = false
        guard let worker, worker.hasDriver, !worker.isComingToRest else { return }
        worker.reset { [weak self] in self?.resetCompleted() }
    }

    private func resetCompleted() {
        interrupt.clear()
        guard activatesAfterReset else { return }
        activatesAfterReset = false
        activate()
    }

    /// The device's configuration has changed.
    func configurationChanged() {
        configGeneration &+= 1
        interrupt.raiseConfigurationChange()
    }

    /// The device has stopped until the driver resets it.
    func deviceNeedsReset() {
        // Between two drivers there is none to tell.
        guard let worker, !worker.isComingToRest else { return }
        status.insert(.deviceNeedsReset)
        interrupt.raiseConfigurationChange()
    }

    // MARK: Queues

    /// How many queues the device has.
    package var queueCount: Int { queues.all.count }

    /// The most descriptors a queue may have; 0 for a queue that there is not.
    package func maximumSize(ofQueue index: Int) -> UInt16 {
        guard let device, device.queueSizes.indices.contains(index) else { return 0 }
        return device.queueSizes[index]
    }

    /// How many descriptors the driver wants a queue to have; 0 if it has said nothing.
    package func size(ofQueue index: Int) -> UInt32 { queues[index]?.size ?? 0 }

    /// The driver says how many descriptors a queue is to have.
    package func setSize(ofQueue index: Int, _ size: UInt32) { change(index) { $0.size = size } }

    /// The guest address at which the driver puts a part of a queue.
    package func address(of part: QueueLayout.Part, ofQueue index: Int) -> UInt64 { queues[index]?[part] ?? 0 }

    /// The driver says where a part of a queue lies.
    package func setAddress(of part: QueueLayout.Part, ofQueue index: Int, _ address: UInt64) {
        change(index) { $0[part] = address }
    }

    /// Whether a queue is in use; one that the driver took out of use is until its last request is done.
    package func isQueueReady(_ index: Int) -> Bool {
        guard let setup = queues[index], let queue = setup.queue else { return false }
        return !setup.isDisabled || queue.inFlight > 0
    }

    /// The driver puts a queue into use, or out of it.
    package func setQueueReady(_ index: Int, _ isReady: Bool) {
        guard queues[index] != nil, let worker else { return }
        if isReady {
            change(index) { $0 = made($0, index) }
        } else if worker.isActivated, !worker.isComingToRest {
            // Without VIRTIO_F_RING_RESET there is no way back but a reset of the device.
            queues[index]?.isDisabled = true
            worker.disable(index)
        } else if acceptsQueues {
            queues[index]?.queue = nil
            queues[index]?.isRefused = false
        }
    }

    /// The driver has requests in a queue, and tells so by a register.
    package func notify(queue index: Int) {
        if status.contains(.driverOK), queues[index] != nil { worker?.ring(index) }
    }

    /// The eventfd of each queue's doorbell, for KVM to signal when the driver notifies the device.
    package var doorbells: [Int32] { bells.descriptors }

    private var acceptsQueues: Bool {
        status.contains(.featuresOK) && status.isDisjoint(with: [.driverOK, .failed, .deviceNeedsReset])
    }

    /// Changes a queue as long as the driver may.
    private func change(_ index: Int, _ change: (inout QueueSetup) -> Void) {
        guard acceptsQueues, var setup = queues[index], setup.queue == nil else { return }
        change(&setup)
        queues[index] = setup
    }

    private func made(_ setup: QueueSetup, _ index: Int) -> QueueSetup {
        var setup = setup
        do throws(QueueError) {
            setup.queue = try setup.makeQueue(
                index, maximumSize: maximumSize(ofQueue: index), features: Features(rawValue: driverFeatures),
                memory: memory)
        } catch {
            worker?.complain("queue \(index) was refused: \(error)")
        }
        setup.isRefused = setup.queue == nil
        return setup
    }

    // MARK: Rest

    /// Whether no request is in flight and no reset is under way.
    package var isAtRest: Bool { worker?.isAtRest ?? true }

    /// Takes no new requests, and calls `done` when none is in flight and the interrupts of all are raised.
    package func pause(_ done: @escaping () -> Void) {
        isPaused = true
        if let worker { worker.pause(done) } else { done() }
    }

    /// Goes on after a pause.
    package func resume() {
        isPaused = false
        interrupt.raiseOwed()
        worker?.resume()
    }

    /// Pauses, unless requests are in flight for too long: then everything goes on as it was.
    ///
    /// - Parameters:
    ///   - deadline: of the monotonic clock, in nanoseconds.
    ///   - done: gets what is still in flight; nil at rest.
    package func drain(until deadline: UInt64, _ done: @escaping (_ inFlight: String?) -> Void) {
        guard let worker else { return done(nil) }
        let wasPaused = isPaused
        var isOver = false
        let alarm = Alarm(worker.reactor, at: deadline) { [self] in
            guard !isOver else { return }
            isOver = true
            if !wasPaused { resume() }
            done(worker.workInFlight)
        }
        pause {
            guard !isOver else { return }
            isOver = true
            worker.reactor.retire(alarm)
            done(nil)
        }
    }

    // MARK: Another device

    /// The queues that the driver has set up: the next device must have as many, and as large ones.
    package var queuesInUse: QueueLimits { queues.limits }

    /// Makes sure that the next device finds a doorbell for each of its queues.
    ///
    /// - Throws: `EINVAL` for too many, or why no eventfd can be made.
    package func reserve(_ next: QueueLimits) throws(Errno) { try bells.grow(to: next.count) }

    /// Ends the device and keeps its driver: for good, or until another device is attached. Chains that the device
    /// holds are handed to the next one first.
    ///
    /// Call it paused and at rest, unless the driver is not needed any more. Nothing may reach the registers from then
    /// on until the next device is attached. What is left belongs to no thread when `done` is called.
    package func detachDevice(_ done: @escaping () -> Void) {
        guard let worker else { return done() }
        worker.leave { [self] in
            self.worker = nil
            interrupt.endStanding()
            for index in queues.all.indices { queues[index] = queues[index].map { renewed($0, index) } }
            done()
        }
    }

    /// The queue as it is, out of reach of the device that has left.
    private func renewed(_ setup: QueueSetup, _ index: Int) -> QueueSetup {
        guard let former = setup.queue else { return setup }
        var setup = setup
        setup.queue = try? Self.queue(
            index, setup, former.state, features: driverFeatures, maximumSize: former.size, memory: memory)
        setup.isRefused = setup.queue == nil
        return setup
    }

    private static func queue(
        _ index: Int, _ setup: QueueSetup, _ state: Virtqueue.State, features: UInt64, maximumSize: UInt16,
        memory: GuestMemory
    ) throws(StateError) -> Virtqueue {
        let queue: Virtqueue
        do {
            queue = try setup.makeQueue(
                index, maximumSize: maximumSize, features: Features(rawValue: features), memory: memory)
        } catch {
            throw StateError("queue \(index): \(error)")
        }
        do {
            try queue.restore(state)
        } catch {
            throw StateError("queue \(index): \(error)")
        }
        return queue
    }

    /// Gives the driver another device, and tells it that the configuration has changed. Features that the driver uses
    /// and the device does not have are not used from now on.
    ///
    /// The device must hold `queuesInUse`, and `reserve` must know of it.
    ///
    /// - Parameter reactor: the calling thread's, on which all of this lives from now on.
    package func attachDevice(_ device: VirtioDevice, on reactor: Reactor) {
        interrupt.move(to: reactor)
        serve(device, on: reactor)
        if isRunning { activate() }
        configurationChanged()
    }

    /// Whether the driver has the device running.
    private var isRunning: Bool {
        status.contains(.driverOK) && status.isDisjoint(with: [.failed, .deviceNeedsReset])
    }

    // MARK: Saving

    /// What the driver and the device know of one another.
    ///
    /// - Throws: for a device that is not paused and at rest.
    package func save() throws(StateError) -> State {
        guard isPaused, isAtRest, let device else { throw StateError("the device is not at rest") }
        return State(
            status: status, driverFeatures: driverFeatures, queues: queues.all.map(State.Queue.init),
            configGeneration: configGeneration, interruptCauses: interrupt.pending, device: device.deviceState)
    }

    /// Goes on where another device of the same configuration was saved; for a new one, which is paused.
    ///
    /// - Throws: for a state that this device cannot have; nothing has changed then.
    package func restore(_ saved: State) throws(StateError) {
        guard isPaused, status.isEmpty, let device else { throw StateError("the device is in use") }
        try saved.check()
        var table = QueueTable(count: saved.queues.count)
        for (index, queue) in saved.queues.enumerated() {
            var setup = queue.setup
            if let ring = queue.ring {
                setup.queue = try Self.queue(
                    index, setup, ring, features: saved.driverFeatures, maximumSize: Virtqueue.largestSize,
                    memory: memory)
            }
            table[index] = setup
        }
        guard device.queueLimits.holds(table.limits) else {
            throw StateError("the driver has set up \(table.limits), and the device has \(device.queueLimits)")
        }
        table.resize(device.queueSizes.count)
        try device.restore(saved.device)
        queues = table
        driverFeatures = saved.driverFeatures
        configGeneration = saved.configGeneration
        status = saved.status
        interrupt.restore(saved.interruptCauses)
        // A device that needed a reset keeps nothing for its next driver.
        if isRunning { activate() } else { device.reset() }
    }
}
