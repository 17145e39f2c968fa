import Control
import Host
import Options

extension Machine {
    /// Files are opened only while there may be devices for them.
    func checkTakesDevices(_ command: String) throws(QMPError) {
        guard parts.takesDevices else {
            throw QMPError("\(command): this machine takes no more devices; start it with -machine microvm,hotplug=on")
        }
    }

    // MARK: Images

    func addDrive(_ spec: DriveSpec) throws(QMPError) {
        try checkTakesDevices("blockdev-add")
        let others = drives
        guard !others.contains(where: { $0.spec.id == spec.id }) else {
            throw QMPError("blockdev-add: \(spec.id) is registered already; choose another node-name")
        }
        guard others.count < options.limits.disks else {
            throw QMPError("blockdev-add: a MicroVm has at most \(options.limits.disks) disks")
        }
        do throws(MachineError) {
            let drive = try open(spec, beside: others)
            if let other = others.first(where: { $0.conflicts(with: drive) }) {
                throw isInUse(spec, by: other)
            }
            backends.add(drive)
        } catch {
            // It may be a file that is in use already.
            renewLocks()
            throw QMPError("\(error)")
        }
    }

    func removeDrive(_ id: String) throws(QMPError) {
        if let drive = backends.takeDrive(id) {
            drive.close()
            return renewLocks()
        }
        if backends.wasRemoved(of: id) { return }
        if let disk = disk(ofDrive: id) {
            throw QMPError("blockdev-del: \(id) is in use by the device \(disk.id); device_del takes both away")
        }
        throw QMPError("blockdev-del: there is no node '\(id)'")
    }

    /// The images of disks, and those that no disk has yet.
    var drives: [Drive] { parts.slots.devices.compactMap { ($0 as? Disk)?.drive } + backends.unusedDrives }

    func disk(ofDrive id: String) -> Disk? {
        parts.slots.devices.lazy.compactMap { $0 as? Disk }.first { $0.drive.spec.id == id }
    }

    // MARK: Devices

    func addDevice(_ spec: DeviceSpec, slot wanted: Int?, _ reply: QMPReply) {
        do throws(QMPError) {
            try checkIOThreads(of: spec)
            switch spec {
            case .block(let disk): try add(disk, wanted, reply)
            case .network(let card): try add(card, wanted, reply)
            default:
                throw QMPError(
                    "device_add: a \(spec.type) cannot be plugged into a running MicroVm; give it as -device")
            }
        } catch {
            reply.fail(error)
        }
    }

    private func checkIOThreads(of spec: DeviceSpec) throws(QMPError) {
        do throws(OptionError) {
            try spec.checkIOThreads(parts.iothreads.map(\.id), in: "device_add", kind: "iothread")
        } catch {
            throw QMPError(error.message)
        }
    }

    private func add(_ spec: BlockDeviceSpec, _ wanted: Int?, _ reply: QMPReply) throws(QMPError) {
        let id = spec.id ?? spec.drive
        try checkIsFree(id)
        let slot = try freeSlot(.disk, wanted)
        guard let drive = backends.takeDrive(spec.drive) else {
            throw QMPError(
                disk(ofDrive: spec.drive).map { "device_add: '\(spec.drive)' is in use by the device \($0.id)" }
                    ?? "device_add: there is no node '\(spec.drive)'; blockdev-add it first")
        }
        let disk = Disk(drive, spec)
        exchange(slot: slot.number, from: nil, to: disk) { [self] error in
            guard let error else {
                Log.info(id, "plugged in")
                return reply.succeed()
            }
            // The image is as good as before, for another try.
            backends.add(drive)
            reply.fail(QMPError("device_add: \(error)"))
        }
    }

    func removeDevice(_ id: String, _ reply: QMPReply) {
        guard let slot = parts.slots.slot(ofDevice: id), let device = slot.device else {
            return reply.fail(QMPError("device_del: Device \(id) not found", class: .deviceNotFound))
        }
        guard slot.kind != .fixed else {
            return reply.fail(QMPError("device_del: '\(id)' cannot be unplugged; only disks and network cards can"))
        }
        exchange(slot: slot.number, from: device, to: nil) { [self] error in
            if let error { return reply.fail(QMPError("device_del: \(error)")) }
            if let disk = device as? Disk { backends.rememberRemoved(of: disk.drive.spec.id) }
            if let card = device as? NIC { backends.rememberRemoved(of: card.netdev.spec.id) }
            Log.info(id, "unplugged")
            server?.post(.deviceDeleted(id))
            reply.succeed()
        }
    }

    func checkIsFree(_ id: String) throws(QMPError) {
        guard parts.slots.slot(ofDevice: id) == nil else {
            throw QMPError("device_add: there is a device '\(id)' already")
        }
    }

    /// The slot that a client calls `wanted`, or of the first free one of the kind.
    func freeSlot(_ kind: SlotTable.Kind, _ wanted: Int?) throws(QMPError) -> SlotTable.Slot {
        let slots = parts.slots.slots(of: kind)
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
}
