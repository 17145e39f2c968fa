package import Bus

/// The registers of virtio-mmio, version 2 (virtio 1.2 section 4.2), over a `VirtioState`.
package final class VirtioMMIO {
    /// The device, and how far its driver has come.
    package let virtio: VirtioState
    private var selectors = Selectors()

    private static let magic: UInt32 = 0x7472_6976
    private static let version: UInt32 = 2

    /// What the driver has written to the `Sel` registers.
    package struct Selectors: Equatable, Sendable {
        package var deviceFeatures: UInt32 = 0
        package var driverFeatures: UInt32 = 0
        package var queue: UInt32 = 0

        package init() {}
    }

    /// What the registers hold, at rest.
    package struct State: Equatable, Sendable {
        package var selectors: Selectors
        package var virtio: VirtioState.State
    }

    package init(_ virtio: VirtioState) {
        self.virtio = virtio
    }

    /// What the registers hold.
    ///
    /// - Throws: for a device that is not paused and at rest.
    package func save() throws(StateError) -> State {
        State(selectors: selectors, virtio: try virtio.save())
    }

    /// Goes on where other registers were saved; for a new device, which is paused.
    ///
    /// - Throws: for a state that this device cannot have; nothing has changed then.
    package func restore(_ state: State) throws(StateError) {
        try virtio.restore(state.virtio)
        selectors = state.selectors
    }

    // MARK: Registers

    /// The registers that vCPU threads read and acknowledge themselves.
    package var published: PublishedRegisters {
        PublishedRegisters([
            .causes(virtio.interrupt.causes, at: MMIORegister.interruptStatus.rawValue),
            .acknowledge(virtio.interrupt.causes, at: MMIORegister.interruptACK.rawValue),
        ])
    }

    private var queue: Int { Int(selectors.queue) }

    private func read(_ register: MMIORegister) -> UInt32 {
        switch register {
        case .magicValue: Self.magic
        case .version: Self.version
        case .deviceID: virtio.device?.type.rawValue ?? 0
        case .deviceFeatures: virtio.offeredFeatures(word: selectors.deviceFeatures)
        case .queueNumMax: UInt32(virtio.maximumSize(ofQueue: queue))
        case .queueReady: virtio.isQueueReady(queue) ? 1 : 0
        case .interruptStatus: virtio.interrupt.pending.rawValue
        case .status: virtio.visibleStatus.rawValue
        case .shmLenLow, .shmLenHigh, .shmBaseLow, .shmBaseHigh: .max
        case .configGeneration: virtio.configGeneration
        case .vendorID, .deviceFeaturesSel, .driverFeatures, .driverFeaturesSel, .queueSel, .queueNum, .queueNotify,
            .interruptACK, .queueDescLow, .queueDescHigh, .queueDriverLow, .queueDriverHigh, .queueDeviceLow,
            .queueDeviceHigh, .shmSel:
            0
        }
    }

    private func write(_ register: MMIORegister, _ value: UInt32) {
        switch register {
        case .deviceFeaturesSel: selectors.deviceFeatures = value
        case .driverFeaturesSel: selectors.driverFeatures = value
        case .driverFeatures: virtio.chooseFeatures(word: selectors.driverFeatures, value)
        case .queueSel: selectors.queue = value
        case .queueNum: virtio.setSize(ofQueue: queue, value)
        case .queueReady: virtio.setQueueReady(queue, value & 1 != 0)
        case .queueNotify: virtio.notify(queue: Int(value))
        case .interruptACK: virtio.interrupt.acknowledge(InterruptCause(rawValue: value))
        case .status:
            if value == 0 { selectors = Selectors() }
            virtio.writeStatus(value)
        case .queueDescLow: setLow(.descriptorTable, value)
        case .queueDescHigh: setHigh(.descriptorTable, value)
        case .queueDriverLow: setLow(.availableRing, value)
        case .queueDriverHigh: setHigh(.availableRing, value)
        case .queueDeviceLow: setLow(.usedRing, value)
        case .queueDeviceHigh: setHigh(.usedRing, value)
        case .magicValue, .version, .deviceID, .vendorID, .deviceFeatures, .queueNumMax, .interruptStatus, .shmSel,
            .shmLenLow, .shmLenHigh, .shmBaseLow, .shmBaseHigh, .configGeneration:
            break
        }
    }

    private func setLow(_ part: QueueLayout.Part, _ value: UInt32) {
        let address = virtio.address(of: part, ofQueue: queue)
        virtio.setAddress(of: part, ofQueue: queue, address & 0xffff_ffff_0000_0000 | UInt64(value))
    }

    private func setHigh(_ part: QueueLayout.Part, _ value: UInt32) {
        let address = virtio.address(of: part, ofQueue: queue)
        virtio.setAddress(of: part, ofQueue: queue, address & 0xffff_ffff | UInt64(value) << 32)
    }
}

extension VirtioMMIO: BusDevice {
    package func read(at offset: UInt64, size: Int) -> UInt64 {
        if offset >= MMIORegister.config {
            guard let offset = Int(exactly: offset - MMIORegister.config) else { return 0 }
            return virtio.readConfig(at: offset, size: size)
        }
        guard size == 4, let register = MMIORegister(rawValue: offset) else { return 0 }
        return UInt64(read(register))
    }

    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        if offset >= MMIORegister.config {
            if let offset = Int(exactly: offset - MMIORegister.config) {
                virtio.writeConfig(at: offset, size: size, value: value)
            }
        } else if size == 4, let register = MMIORegister(rawValue: offset) {
            write(register, UInt32(truncatingIfNeeded: value))
        }
        return .none
    }
}
