import Control
import EventLoop
import Host
import Options
import Virtio

/// The slots of the machine and the devices in them: plugs devices in and out while the guest runs. It belongs to the
/// main reactor.
final class SlotManager {
    let table: SlotTable
    let iothreads: IOThreads
    let backends: UnattachedBackends
    let runControl: RunControl
    /// What must not meet a device that is being plugged in or out.
    let operations: SerialQueue
    let events: EventSink
    /// Whether disks and network cards may be plugged in.
    private let takesDevices: Bool
    private let limits: Limits
    /// The ids of the command line's objects other than iothreads.
    private let objects: [String]

    /// What the slots are made of, and what they are made with.
    struct Context {
        let table: SlotTable
        let iothreads: IOThreads
        let backends: UnattachedBackends
        let runControl: RunControl
        let operations: SerialQueue
        let events: EventSink
    }

    init(_ context: Context, takesDevices: Bool, limits: Limits, objects: [String]) {
        table = context.table
        iothreads = context.iothreads
        backends = context.backends
        runControl = context.runControl
        operations = context.operations
        events = context.events
        self.takesDevices = takesDevices
        self.limits = limits
        self.objects = objects
    }

    /// What the machine has, as of now.
    var inventory: Inventory {
        Inventory(
            limits: limits, devices: table.devices, unusedDrives: backends.unusedDrives,
            unusedNetdevs: backends.unusedNetdevs, iothreads: iothreads.ids, objects: objects)
    }

    /// The balloon, if there is one.
    var balloon: Balloon? { table.devices.lazy.compactMap { $0 as? Balloon }.first }

    /// Throws an error if there will be no slot for a device: then nothing is opened for one either.
    func checkTakesDevices(_ command: String) throws(QMPError) {
        guard takesDevices else {
            throw QMPError("\(command): this machine takes no more devices; start it with -machine microvm,hotplug=on")
        }
    }

    // MARK: Plugging in

    /// `device_add`: puts a device into the slot of this number among those of its kind, or into the first free one.
    func add(_ spec: DeviceSpec, slot wanted: Int?, _ completion: @escaping RunControl.Completion) {
        do throws(QMPError) {
            try checkIOThreads(of: spec)
            switch spec {
            case .block(let spec): try add(spec, wanted, completion)
            case .network(let spec): try add(spec, wanted, completion)
            default:
                throw QMPError(
                    "device_add: a \(spec.type) cannot be plugged into a running MicroVm; give it as -device")
            }
        } catch {
            completion(error)
        }
    }

    private func checkIOThreads(of spec: DeviceSpec) throws(QMPError) {
        do throws(OptionError) {
            try spec.checkIOThreads(iothreads.running.map(\.id), in: "device_add", kind: "iothread")
        } catch {
            throw QMPError(error.message)
        }
    }

    private func add(
        _ spec: BlockDeviceSpec, _ wanted: Int?, _ completion: @escaping RunControl.Completion
    ) throws(QMPError) {
        let inventory = inventory
        try inventory.checkDevice(spec.id ?? spec.drive, in: "device_add")
        let slot = try freeSlot(.disk, wanted)
        guard let drive = backends.takeDrive(spec.drive) else {
            throw QMPError(
                inventory.disk(ofDrive: spec.drive).map {
                    "device_add: '\(spec.drive)' is in use by the device \($0.id)"
                } ?? "device_add: there is no node '\(spec.drive)'; blockdev-add it first")
        }
        plug(Disk(drive, spec), into: slot, completion) { [backends] in backends.add(drive) }
    }

    private func add(
        _ spec: NetworkDeviceSpec, _ wanted: Int?, _ completion: @escaping RunControl.Completion
    ) throws(QMPError) {
        let inventory = inventory
        try inventory.checkDevice(spec.id ?? spec.netdev, in: "device_add")
        let slot = try freeSlot(.networkCard, wanted)
        guard let netdev = backends.takeNetdev(spec.netdev) else {
            throw QMPError("device_add: there is no unused netdev '\(spec.netdev)'; netdev_add it first")
        }
        let nic: NIC
        do throws(MachineError) {
            nic = try NIC(netdev, spec, beside: inventory)
        } catch {
            backends.add(netdev)
            throw QMPError("device_add: \(error)")
        }
        plug(nic, into: slot, completion) { [backends] in backends.add(netdev) }
    }

    /// - Parameter giveBack: keeps the backend, which is as good as before, for another try.
    private func plug(
        _ device: any MachineDevice, into slot: SlotTable.Slot, _ completion: @escaping RunControl.Completion,
        ifItFails giveBack: @escaping () -> Void
    ) {
        exchange(slot: slot.number, from: nil, to: device) { error in
            if let error {
                giveBack()
                return completion(QMPError("device_add: \(error)"))
            }
            Log.info(device.id, "plugged in")
            completion(nil)
        }
    }

    /// The slot that a client calls `wanted`, or the first free one of the kind.
    private func freeSlot(_ kind: SlotTable.Kind, _ wanted: Int?) throws(QMPError) -> SlotTable.Slot {
        let slots = table.slots(of: kind)
        guard let wanted else {
            if let free = slots.first(where: { $0.device == nil }) { return free }
            throw QMPError(
                slots.isEmpty
                    ? "device_add: this machine has no spare place; start it with -machine microvm,hotplug=on"
                    : "device_add: all \(slots.count) places for this kind of device are occupied")
        }
        guard slots.indices.contains(wanted) else {
            throw QMPError(
                "device_add: addr: there is no slot \(wanted); this machine has \(slots.count) for this kind of device"
                    + (slots.isEmpty ? ", start it with -machine microvm,hotplug=on" : ""))
        }
        guard slots[wanted].device == nil else {
            throw QMPError("device_add: The slot \(wanted) is occupied already.")
        }
        return slots[wanted]
    }

    // MARK: Unplugging

    /// `device_del`: takes a disk or a NIC out of its slot, and its backend with it.
    func remove(_ id: String, _ completion: @escaping RunControl.Completion) {
        guard let slot = table.slot(ofDevice: id), let device = slot.device else {
            return completion(QMPError("device_del: Device \(id) not found", class: .deviceNotFound))
        }
        guard slot.kind != .fixed else {
            return completion(
                QMPError("device_del: '\(id)' cannot be unplugged; only disks and network cards can"))
        }
        exchange(slot: slot.number, from: device, to: nil) { [self] error in
            if let error { return completion(QMPError("device_del: \(error)")) }
            if let disk = device as? Disk { backends.rememberRemoved(disk.drive.spec.id) }
            if let nic = device as? NIC { backends.rememberRemoved(nic.netdev.spec.id) }
            Log.info(id, "unplugged")
            events.clients(on: iothreads.main.reactor)?.post(.deviceDeleted(id))
            completion(nil)
        }
    }

    // MARK: Another device for a slot

    /// Puts `device`, or none, into a slot; the driver in the guest then finds another configuration.
    ///
    /// - Parameters:
    ///   - former: the slot's device when the command was taken; another command may have been quicker since.
    ///   - then: gets why it failed, and then nothing has changed; called in a later turn or at once.
    private func exchange(
        slot number: Int, from former: (any MachineDevice)?, to device: (any MachineDevice)?,
        then: @escaping (MachineError?) -> Void
    ) {
        operations.add { [self] done in
            let finish = { (error: MachineError?) in
                then(error)
                done()
            }
            do throws(MachineError) {
                try swap(number, former, device, then: finish)
            } catch {
                finish(error)
            }
        }
    }

    private func swap(
        _ number: Int, _ former: (any MachineDevice)?, _ device: (any MachineDevice)?,
        then finish: @escaping (MachineError?) -> Void
    ) throws(MachineError) {
        guard runControl.state != .ending else { throw MachineError("device", "the machine is ending") }
        guard let slot = table.slots.first(where: { $0.number == number }), slot.device === former,
            device.map({ table.slot(ofDevice: $0.id) == nil }) ?? true
        else { throw MachineError("device", "another command has been quicker") }
        guard let next = iothreads.placement(of: device?.iothread) else {
            throw MachineError("iothread", "'\(device?.iothread ?? "")' has been taken away")
        }
        try device?.findHelper(iothreads)
        if runControl.state == .running { try device?.prepareToRun() }
        device?.events = events
        let id = device?.id ?? "slot \(number)"
        DeviceSwap(
            DeviceSwap.Slot(number: number, former: slot.placement, next: next), id: id,
            { device?.maker ?? Self.placeholder(slot.kind, id) }, runControl
        ) { [table] in
            table.set(number, device, next)
        } then: { [self] error in
            if error == nil {
                // An image is closed with its disk, and the process loses its locks on a file with any descriptor of it
                // that is closed.
                former?.finish()
                inventory.renewLocks()
            }
            finish(error)
        }.start()
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

    // MARK: What serves the driver

    /// Runs `body` with what serves the driver of the device that `find` finds, on its reactor; nil stands for a device
    /// that is not there, or no longer.
    ///
    /// - Parameter then: gets the answer on the main reactor, where the device is still in its slot.
    func withDevice<Device: AnyObject, Answer>(
        _ find: @escaping (any MachineDevice) -> Bool, as type: Device.Type,
        _ body: @escaping @Sendable (Device) -> Answer, then: @escaping (Answer?) -> Void
    ) {
        operations.add { [self] done in
            guard let slot = table.slots.first(where: { $0.device.map(find) ?? false }) else {
                then(nil)
                return done()
            }
            let number = slot.number
            slot.placement.run { devices, answer in
                answer((devices.device(inSlot: number) as? Device).map(body))
            } then: { (answer: Answer?) in
                then(answer)
                done()
            }
        }
    }

    /// Calls `then` with what all devices behind registers report, by slot.
    func readReports(_ then: @escaping ([DeviceReport]) -> Void) {
        iothreads.collect { devices, answer in
            answer(devices.reports)
        } then: { (reports: [[DeviceReport]]) in
            then(reports.joined().sorted { $0.slot < $1.slot })
        }
    }

    /// Leaves the host as it was found.
    func finish() {
        for device in table.devices { device.finish() }
    }
}

extension SlotManager: DeviceControl {
    func prepareToRun() throws(MachineError) {
        for device in table.devices { try device.prepareToRun() }
    }

    func resume() {
        iothreads.collect { devices, answer in
            devices.resume()
            answer(())
        } then: { (_: [Void]) in
        }
    }

    func drain(_ done: @escaping () -> Void) {
        iothreads.collect { devices, answer in
            devices.pause { answer(()) }
        } then: { (_: [Void]) in
            done()
        }
    }
}
