import Backends
import Bus
import Control
import Host
import Options
import Virtio

/// The machine as QMP's commands know it: forwards each command to the part that carries it out.
final class QMPMachine: MachineControl {
    private let options: LaunchOptions
    private let layout: BoardLayout
    private let bus: SystemBus
    private let runControl: RunControl
    private let slots: SlotManager
    private let settings: DeviceSettings
    private let descriptors: DescriptorStore
    private let chardevs: Chardevs
    private let vcpus: VCPUSet

    init(
        _ options: LaunchOptions, _ layout: BoardLayout, _ bus: SystemBus, _ runControl: RunControl,
        _ parts: Machine.Parts
    ) {
        self.options = options
        self.layout = layout
        self.bus = bus
        self.runControl = runControl
        slots = parts.slots
        settings = DeviceSettings(slots: parts.slots)
        descriptors = parts.descriptors
        chardevs = parts.chardevs
        vcpus = parts.vcpus
    }

    // MARK: MachineInformation

    var name: String? { options.name }

    var uuid: String? { options.uuid }

    var architecture: Architecture { .x86_64 }

    var machineTypes: [MachineType] { [MachineType(name: layout.name, maximumCPUs: layout.limits.vcpus)] }

    var memorySize: UInt64 { options.memoryBackend.size }

    var cpus: [CPUInfo] {
        vcpus.placements.enumerated().map { index, place in
            CPUInfo(
                index: index, threadID: Int(place.threadID), socket: place.socket, die: place.die, core: place.core,
                thread: place.thread)
        }
    }

    var ioThreads: [IOThreadInfo] {
        slots.iothreads.running.map { IOThreadInfo(id: $0.id, threadID: Int($0.threadID)) }
    }

    var characterDevices: [CharacterDeviceInfo] { chardevs.infos }

    var blockDevices: [BlockDeviceInfo] { slots.inventory.disks.map(\.info) }

    var devices: [TypedObject] { slots.inventory.devices.map { TypedObject(id: $0.id, type: $0.type) } }

    var objects: [TypedObject] {
        options.otherObjects.map { TypedObject(id: $0.id, type: $0.type) }
            + slots.iothreads.running.map { TypedObject(id: $0.id, type: "iothread") }
    }

    func readCounters(_ answer: @escaping ([DeviceCounters]) -> Void) {
        slots.readReports { [slots] reports in
            answer(reports.filter { slots.inventory.device($0.id) != nil && !$0.counters.isEmpty }.map(\.info))
        }
    }

    func logAddressSpace(_ reply: QMPReply) {
        slots.readReports { [slots, log = AddressSpaceLog(options, layout, bus)] reports in
            log.write(reports, slots.inventory)
            reply.succeed()
        }
    }

    func disconnect(characterDevices labels: [String]) throws(QMPError) { try chardevs.disconnect(labels) }

    // MARK: RunCommands

    var status: RunStatus { runControl.status }

    var isRunning: Bool { runControl.isRunning }

    func stop(_ reply: QMPReply) { runControl.pause(reply.finish) }

    func resume(_ reply: QMPReply) { runControl.resume(reply.finish) }

    func quit() { runControl.end(.quit) }

    func powerDown() throws(QMPError) { runControl.end(.hostPowerDown) }

    func reset() throws(QMPError) { runControl.end(.hostReset) }

    // MARK: BalloonCommands

    func setBalloon(_ bytes: UInt64) throws(QMPError) {
        guard let balloon = slots.balloon else { throw .noBalloon }
        try balloon.set(bytes)
    }

    func queryBalloon(_ answer: @escaping (BalloonInfo) -> Void) throws(QMPError) {
        guard let balloon = slots.balloon else { throw .noBalloon }
        balloon.query(mayAsk: runControl.state == .running, answer)
    }

    // MARK: DescriptorCommands

    // A descriptor that is closed may have been of an image, whose locks go with it.

    func keepDescriptor(_ file: consuming FileDescriptor, as name: String) throws(QMPError) {
        defer { slots.inventory.renewLocks() }
        try descriptors.keep(file, as: name)
    }

    func closeDescriptor(_ name: String) throws(QMPError) {
        try descriptors.close(name)
        slots.inventory.renewLocks()
    }

    var descriptorNumbers: [String: Int32] { descriptors.numbers }

    func addDescriptor(
        _ file: consuming FileDescriptor, toSet set: UInt64?, opaque: String?
    ) throws(QMPError) -> (set: UInt64, number: Int32) {
        defer { slots.inventory.renewLocks() }
        return try descriptors.add(file, toSet: set, opaque: opaque)
    }

    func removeDescriptor(_ number: UInt64?, fromSet set: UInt64) throws(QMPError) {
        try descriptors.remove(number, fromSet: set)
        slots.inventory.renewLocks()
    }

    var descriptorSets: [FDSetInfo] { descriptors.infos }

    // MARK: BackendCommands

    func addDrive(_ spec: DriveSpec) throws(QMPError) {
        try slots.checkTakesDevices("blockdev-add")
        try slots.backends.addDrive(spec, beside: slots.inventory)
    }

    func removeDrive(_ id: String) throws(QMPError) {
        try slots.backends.removeDrive(id, beside: slots.inventory)
    }

    func addNetdev(_ spec: NetdevSpec) throws(QMPError) {
        try slots.checkTakesDevices("netdev_add")
        try slots.backends.addNetdev(spec, beside: slots.inventory)
    }

    func removeNetdev(_ id: String) throws(QMPError) {
        try slots.backends.removeNetdev(id, beside: slots.inventory)
    }

    // MARK: DeviceCommands

    func addDevice(_ spec: DeviceSpec, slot: Int?, _ reply: QMPReply) { slots.add(spec, slot: slot, reply.finish) }

    func removeDevice(_ id: String, _ reply: QMPReply) { slots.remove(id, reply.finish) }

    func setLink(_ id: String, up isUp: Bool, _ reply: QMPReply) { settings.setLink(id, up: isUp, reply.finish) }

    func resizeDisk(_ id: String, to size: UInt64, _ reply: QMPReply) {
        settings.resizeDisk(id, to: size, reply.finish)
    }

    func limitDisk(_ id: String, iops: UInt32, _ reply: QMPReply) {
        settings.limitDisk(id, iops: iops, reply.finish)
    }

    func addObject(_ spec: ObjectSpec, _ reply: QMPReply) {
        slots.iothreads.add(spec, beside: slots.inventory, reply.finish)
    }

    func removeObject(_ id: String, _ reply: QMPReply) {
        slots.iothreads.remove(id, beside: slots.inventory, reply.finish)
    }
}

extension DeviceReport {
    fileprivate var info: DeviceCounters {
        DeviceCounters(
            id: id, counters: counters.map { .init(name: $0.name, value: $0.value, isBytes: $0.isBytes) })
    }
}
