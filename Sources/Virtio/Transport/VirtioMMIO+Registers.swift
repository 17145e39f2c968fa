package import Platform

extension VirtioMMIO: BusDevice {
    private static let magic: UInt32 = 0x7472_6976

    package func read(at offset: UInt64, size: Int) -> UInt64 {
        if offset >= MMIORegister.config {
            guard let offset = Int(exactly: offset - MMIORegister.config) else { return 0 }
            return device.readConfig(at: offset, size: size)
        }
        guard size == 4, let register = MMIORegister(rawValue: offset) else { return 0 }
        return UInt64(read(register))
    }

    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        if offset >= MMIORegister.config {
            if let offset = Int(exactly: offset - MMIORegister.config), status.contains(.driver) {
                device.writeConfig(at: offset, size: size, value: value)
            }
        } else if size == 4, let register = MMIORegister(rawValue: offset) {
            write(register, UInt32(truncatingIfNeeded: value))
        }
        return .none
    }

    private func read(_ register: MMIORegister) -> UInt32 {
        switch register {
        case .magicValue: Self.magic
        case .version: 2
        case .deviceID: device.type.rawValue
        case .deviceFeatures: Self.half(deviceFeaturesSel, of: device.offeredFeatures.rawValue)
        case .queueNumMax: Int(exactly: queueSel).flatMap { maximumSize($0) } ?? 0
        case .queueReady: isQueueReady(Int(queueSel)) ? 1 : 0
        case .interruptStatus: interruptCauses
        case .status: visibleStatus.rawValue
        case .shmLenLow, .shmLenHigh, .shmBaseLow, .shmBaseHigh: .max
        case .configGeneration: configGeneration
        case .vendorID, .deviceFeaturesSel, .driverFeatures, .driverFeaturesSel, .queueSel, .queueNum, .queueNotify,
            .interruptACK, .queueDescLow, .queueDescHigh, .queueDriverLow, .queueDriverHigh, .queueDeviceLow,
            .queueDeviceHigh, .shmSel:
            0
        }
    }

    private func write(_ register: MMIORegister, _ value: UInt32) {
        switch register {
        case .deviceFeaturesSel: deviceFeaturesSel = value
        case .driverFeaturesSel: driverFeaturesSel = value
        case .driverFeatures: chooseFeatures(value)
        case .queueSel: queueSel = value
        case .queueNum: changeQueue { $0.size = value }
        case .queueReady: setQueueReady(value & 1 != 0)
        case .queueNotify: if status.contains(.driverOK), let index = Int(exactly: value) { worker.ring(index) }
        case .interruptACK: acknowledgeInterrupt(value)
        case .status: writeStatus(value)
        case .queueDescLow: changeQueue { Self.setLow(&$0.descriptorTable, value) }
        case .queueDescHigh: changeQueue { Self.setHigh(&$0.descriptorTable, value) }
        case .queueDriverLow: changeQueue { Self.setLow(&$0.availableRing, value) }
        case .queueDriverHigh: changeQueue { Self.setHigh(&$0.availableRing, value) }
        case .queueDeviceLow: changeQueue { Self.setLow(&$0.usedRing, value) }
        case .queueDeviceHigh: changeQueue { Self.setHigh(&$0.usedRing, value) }
        case .magicValue, .version, .deviceID, .vendorID, .deviceFeatures, .queueNumMax, .interruptStatus, .shmSel,
            .shmLenLow, .shmLenHigh, .shmBaseLow, .shmBaseHigh, .configGeneration:
            break
        }
    }

    private func maximumSize(_ index: Int) -> UInt32? {
        device.queueSizes.indices.contains(index) ? UInt32(device.queueSizes[index]) : nil
    }

    /// Changes the selected queue, as long as it can be changed.
    private func changeQueue(_ change: (inout QueueRegisters) -> Void) {
        let index = Int(queueSel)
        guard acceptsQueues, queueRegisters.indices.contains(index), queueRegisters[index].queue == nil else { return }
        change(&queueRegisters[index])
    }

    private func chooseFeatures(_ value: UInt32) {
        guard acceptsFeatures else { return }
        switch driverFeaturesSel {
        case 0: Self.setLow(&driverFeatures, value)
        case 1: Self.setHigh(&driverFeatures, value)
        default: break
        }
    }

    private static func half(_ selector: UInt32, of value: UInt64) -> UInt32 {
        switch selector {
        case 0: UInt32(truncatingIfNeeded: value)
        case 1: UInt32(truncatingIfNeeded: value >> 32)
        default: 0
        }
    }

    private static func setLow(_ target: inout UInt64, _ value: UInt32) {
        target = target & 0xffff_ffff_0000_0000 | UInt64(value)
    }

    private static func setHigh(_ target: inout UInt64, _ value: UInt32) {
        target = target & 0xffff_ffff | UInt64(value) << 32
    }
}
