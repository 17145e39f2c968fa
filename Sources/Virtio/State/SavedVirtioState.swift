extension VirtioState {
    /// What a driver and a device at rest know of one another: with it a device of the same configuration goes on.
    ///
    /// No reset is under way at rest, so none waits for its end either; a device has stopped if its status says so.
    package struct State: Equatable, Sendable {
        package var status: DeviceStatus
        /// What the driver has chosen.
        package var driverFeatures: UInt64
        package var queues: [Queue]
        package var configGeneration: UInt32
        /// What the driver has not acknowledged.
        package var interruptCauses: InterruptCause
        /// The device's own state.
        package var device: DeviceState

        /// What the driver has written about one queue, and where the queue is.
        package struct Queue: Equatable, Sendable {
            package var size: UInt32
            package var descriptorTable: UInt64
            package var availableRing: UInt64
            package var usedRing: UInt64
            /// Nil for a queue that is not ready.
            package var ring: Virtqueue.State?
            /// The driver took it out of use again.
            package var isDisabled: Bool
            /// The driver declared it ready, but it cannot work.
            package var isRefused: Bool

            init(_ setup: QueueSetup) {
                size = setup.size
                descriptorTable = setup.descriptorTable
                availableRing = setup.availableRing
                usedRing = setup.usedRing
                ring = setup.queue?.state
                isDisabled = setup.isDisabled
                isRefused = setup.isRefused
            }

            /// All but the queue itself.
            var setup: QueueSetup {
                QueueSetup(
                    size: size, descriptorTable: descriptorTable, availableRing: availableRing, usedRing: usedRing,
                    isDisabled: isDisabled, isRefused: isRefused)
            }
        }

        /// Throws for what no device can have; queues are checked where they are made.
        func check() throws(StateError) {
            guard status.isSubset(of: DeviceStatus.settable.union(.deviceNeedsReset)) else {
                throw StateError("the status 0x\(String(status.rawValue, radix: 16)) has unknown bits")
            }
            for (bit, former) in [
                (DeviceStatus.driver, DeviceStatus.acknowledge), (.featuresOK, .driver), (.driverOK, .featuresOK),
            ] {
                guard !status.contains(bit) || status.contains(former) else {
                    throw StateError("the status 0x\(String(status.rawValue, radix: 16)) lacks what comes first")
                }
            }
            guard !status.contains(.featuresOK) || Features(rawValue: driverFeatures).contains(.version1) else {
                throw StateError("the driver's features 0x\(String(driverFeatures, radix: 16)) are not of virtio 1")
            }
            guard interruptCauses.isSubset(of: [.usedBuffer, .configurationChange]) else {
                throw StateError("unknown causes of an interrupt: 0x\(String(interruptCauses.rawValue, radix: 16))")
            }
            guard queues.count <= Doorbells.maximumCount else { throw StateError("\(queues.count) queues") }
            for (index, queue) in queues.enumerated() { try check(queue, index) }
        }

        private func check(_ queue: Queue, _ index: Int) throws(StateError) {
            guard queue.ring == nil || status.contains(.featuresOK) else {
                throw StateError("queue \(index) is ready before the features are agreed")
            }
            guard queue.ring == nil || !queue.isRefused else {
                throw StateError("queue \(index) is ready, and was refused")
            }
            guard queue.ring != nil || !queue.isDisabled else {
                throw StateError("queue \(index) was taken out of use, and is not ready")
            }
            guard !queue.isDisabled || queue.ring?.isStopped == true else {
                throw StateError("queue \(index) was taken out of use, and hands out requests")
            }
            let hasStarted = status.contains(.driverOK) && status.isDisjoint(with: [.failed, .deviceNeedsReset])
            guard !queue.isRefused || !hasStarted else {
                throw StateError("the device runs although queue \(index) was refused")
            }
        }
    }
}
