import EventLoop
import Host
import Hypervisor
import Memory
import Options
import Virtio

extension Machine {
    /// Puts `device`, or none, into a slot of the machine, which may be running; the driver in the guest goes on with
    /// what it finds then.
    ///
    /// Nothing of the guest runs in between: the vCPUs stand still while the slot is nobody's, and the requests of the
    /// device that goes have ended before the one that comes gets the next.
    ///
    /// - Parameters:
    ///   - former: who is there when the command was taken; somebody else may have been quicker since.
    ///   - then: gets why it failed, in which case nothing has changed; called in a later turn or at once.
    func exchange(
        slot number: Int, from former: (any MachineDevice)?, to device: (any MachineDevice)?,
        then: @escaping (MachineError?) -> Void
    ) {
        operations.add { [self] done in
            guard let slot = parts.slots.slots.first(where: { $0.number == number }) else { return done() }
            guard state != .ending else {
                then(MachineError("device", "the machine is ending"))
                return done()
            }
            guard slot.device === former, device.map({ parts.slots.slot(ofDevice: $0.id) == nil }) ?? true else {
                then(MachineError("device", "another command has been quicker"))
                return done()
            }
            let residence: DevicePlacement
            do throws(MachineError) {
                residence = try self.residence(of: device)
                try device?.findHelper(reactor.handle, parts.iothreads)
                if state == .running { try device?.prepareToRun() }
            } catch {
                then(error)
                return done()
            }
            device?.leastShape = slot.shape
            device?.events = parts.events
            let name = device?.id ?? "slot \(number)"
            let make = device?.maker ?? Self.placeholder(slot.kind, name, slot.shape)
            residence.run { [memory = parts.memory] home, answer in
                answer(
                    Result { () throws(MachineError) in
                        try home.prepare(make, id: name, slot: number, memory: memory)
                    })
            } then: { [self] (result: Result<ReactorDevices.Connection, MachineError>) in
                switch result {
                case .failure(let error):
                    then(error)
                    done()
                case .success(let connection) where !connection.shape.holds(slot.shape):
                    residence.run { home, answer in
                        home.discardPrepared(number)
                        answer(())
                    } then: {
                        then(
                            MachineError(
                                name,
                                "has \(connection.shape.count) queues, and a driver there may use "
                                    + "\(slot.shape.count) of up to \(slot.shape.size) entries"))
                        done()
                    }
                case .success(let connection):
                    standingStill { [self] resume in
                        move(slot, to: residence) { [self] in
                            parts.slots.set(number, device, residence, connection.shape)
                            resume()
                            // By then nobody has what served the device that left. An image is closed with it, and
                            // with any file that is closed go the process's locks on it.
                            slot.residence.finishTurn { [self] in
                                former?.finish()
                                renewLocks()
                                then(nil)
                                done()
                            }
                        }
                    }
                }
            }
        }
    }

    /// Takes the slot's driver from the device there to the one that was prepared for it.
    private func move(_ slot: SlotTable.Slot, to residence: DevicePlacement, then: @escaping () -> Void) {
        let number = slot.number
        let isPaused = state != .running
        slot.residence.run { home, answer in
            home.leave(number, answer)
        } then: { [self] (driver: DriverState?) in
            let driver = SendOnce(driver)
            residence.run { home, answer in
                home.enter(number, for: driver.take() ?? nil, isPaused: isPaused)
                answer(())
            } then: { [self] in
                parts.router.setOwner(ofSlot: number, residence.handle)
                then()
            }
        }
    }

    /// Calls `body` while no vCPU is in the guest; what that gets lets them go on, if they ran before.
    private func standingStill(_ body: @escaping (_ resume: @escaping () -> Void) -> Void) {
        guard state == .running else { return body({}) }
        parts.processors.pause { [self] in
            body { [self] in
                if state == .running { parts.processors.resume() }
            }
        }
    }

    private func residence(of device: (any MachineDevice)?) throws(MachineError) -> DevicePlacement {
        guard let iothread = device?.iothread else { return DevicePlacement(parts.home) }
        guard let thread = parts.iothreads.first(where: { $0.id == iothread }) else {
            throw MachineError("iothread", "'\(iothread)' has been taken away")
        }
        return DevicePlacement(thread, main: reactor)
    }

    /// What keeps a driver where there is no device.
    static func placeholder(_ kind: SlotTable.Kind, _ id: String, _ shape: QueueShape?) -> DeviceMaker {
        if kind == .networkCard {
            let mac = MACAddress.random().octets
            let shape = shape ?? QueueShape(count: 3, size: 256)
            return { _ throws(MachineError) in NullNetDevice(id: id, mac: mac, shape: shape) }
        }
        let shape = shape ?? QueueShape(count: 1, size: 256)
        return { _ throws(MachineError) in NullBlockDevice(id: id, shape: shape) }
    }
}
