import Control
import EventLoop
import Host
import Hypervisor
import Memory
import Options
import TestSupport
import Virtio

@testable import VMM

/// A machine without a guest: slots, iothreads and run control on a real reactor, with made-up vCPUs.
final class SlotRig {
    let control: RunControlRig
    let main: ReactorDevices
    let table = SlotTable()
    let iothreads: IOThreads
    let descriptors = DescriptorStore()
    let backends: UnattachedBackends
    let slots: SlotManager
    let image: TemporaryFile
    private let memory: GuestMemory

    var reactor: Reactor { control.reactor }

    /// - Parameters:
    ///   - disks: how many empty slots for disks there are.
    ///   - nics: how many for network cards.
    init(disks: Int = 2, nics: Int = 1, takesDevices: Bool = true) throws {
        control = try RunControlRig()
        main = IOThreadRig.devices(control.reactor)
        memory = try GuestMemory(size: 1 << 20)
        image = try TemporaryFile(size: 1 << 16)
        iothreads = IOThreads(
            main, keepsSpare: false, filters: nil, operations: control.operations, IOThreadRig.devices)
        backends = UnattachedBackends(descriptors, imagesAreConfined: false)
        slots = SlotManager(
            SlotManager.Context(
                table: table, iothreads: iothreads, backends: backends, runControl: control.control,
                operations: control.operations, events: control.events),
            takesDevices: takesDevices, limits: .microvm, objects: ["rng0"])
        control.control.connect(control.vcpus, slots)
        for _ in 0..<disks { try addSlot(.disk) }
        for _ in 0..<nics { try addSlot(.networkCard) }
    }

    /// Adds a slot, empty or with a device, on the main reactor.
    func addSlot(_ kind: SlotTable.Kind, _ device: (any MachineDevice)? = nil) throws {
        let number = table.slots.count
        let id = device?.id ?? "slot \(number)"
        _ = try main.install(
            device?.maker ?? SlotManager.placeholder(kind, id), id: id, slot: number, memory: memory)
        table.append(
            SlotTable.Slot(number: number, kind: kind, device: device, placement: DevicePlacement(main)))
    }

    /// Opens an image for a disk to come.
    func addDrive(_ id: String, _ file: TemporaryFile? = nil) throws {
        backends.add(try HostEnds.drive(id, file ?? image))
    }

    /// Turns the reactor until a command has been answered; the answer, empty for success.
    func answer(_ command: (@escaping RunControl.Completion) throws -> Void) rethrows -> String {
        var answer: String?
        try command { answer = $0?.description ?? "" }
        while answer == nil { reactor.turn(waiting: true) }
        return answer ?? ""
    }

    func add(_ spec: DeviceSpec, slot: Int? = nil) -> String { answer { slots.add(spec, slot: slot, $0) } }

    func addDisk(_ drive: String, id: String? = nil, iothread: String? = nil, slot: Int? = nil) throws -> String {
        add(.block(try HostEnds.blockSpec(drive, id: id, iothread: iothread)), slot: slot)
    }

    func remove(_ id: String) -> String { answer { slots.remove(id, $0) } }

    func addIOThread(_ id: String) throws -> String {
        try answer { iothreads.add(try ObjectSpec.parse("iothread,id=\(id)"), beside: slots.inventory, $0) }
    }

    func removeIOThread(_ id: String) -> String { answer { iothreads.remove(id, beside: slots.inventory, $0) } }

    /// The ids of the devices in the slots; nil for an empty one.
    var occupants: [String?] { table.slots.map { $0.device?.id } }

    deinit {
        iothreads.finish()
    }
}
