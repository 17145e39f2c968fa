import Backends
import Boot
import Bus
import Control
import EventLoop
import Host
import Hypervisor
import Memory
import Options
import Sandbox
import Virtio

/// Builds the parts of a machine out of its options, step by step; each step that fails names what it was for.
final class MachineBuilder {
    private let root: Machine
    private let options: LaunchOptions
    private let layout: BoardLayout
    private let reactor: Reactor
    private let bus: SystemBus
    private let home: ReactorDevices
    private var chardevs: Chardevs?
    private var devices: [any MachineDevice] = []

    /// - Parameter root: what the parts report to.
    init(_ root: Machine) {
        self.root = root
        options = root.options
        layout = root.layout
        reactor = root.reactor
        bus = root.bus
        home = root.devices
    }

    /// Builds the parts; no vCPU has run when it is done. A failure leaves nothing behind on the host.
    func build() throws(MachineError) -> Machine.Parts {
        do {
            return try assemble()
        } catch {
            for device in devices { device.finish() }
            chardevs?.finish(within: 0)
            throw error
        }
    }

    private func assemble() throws(MachineError) -> Machine.Parts {
        // What is cheap to check comes first: files, before memory and vCPUs.
        let files = try BootFiles(options)
        var plan = BootPlan(
            commandLine: options.kernelArguments, layout: layout, cpuCount: options.topology.cpus,
            apicIDs: options.topology.arrangement.apicIDs(options.topology.cpus), hasSerial: options.serial != nil)
        let places = try places(plan, files)
        let chardevs = try Chardevs(options, reactor: reactor)
        self.chardevs = chardevs
        devices = try DeviceOpener(options: options, chardevs: chardevs).open()
        let memory = try GuestMemory.make(options, layout.memory)
        let machine = try makeMachine(memory)
        // Before any interrupt is connected: some interrupt controllers take no vCPU after that.
        let vcpus = try hypervisor { () throws(HypervisorError) in try VCPUSet.create(machine, options.topology) }
        // No thread but this one is there yet, and all is open that the machine begins with.
        try limitReach(options.reach(hotPlug: places.hasSpare))
        let filters = options.usesSeccomp ? try makeFilters(options.needs(hotPlug: places.hasSpare)) : nil
        let board = BoardDevices(options, layout, chardevs, reactor: reactor, bus: home.bus, machine: machine)
        try board.attach()
        guard bus.insert(BusRange(layout.absentClock, constant: 0)) else {
            throw MachineError("board", "the ports of its clock are occupied")
        }
        let iothreads = IOThreads(
            home, keepsSpare: options.spareIOThreads > 0, filters: filters, operations: root.operations
        ) { [bus, layout, main = reactor.handle, run = ReactorBound(root.runControl, to: reactor)] reactor in
            reactor.onLoss { failure in main.send { main in run.value(on: main)?.lose(failure) } }
            return ReactorDevices(reactor, bus, layout, onAction: { _ in })
        }
        try iothreads.start(options.iothreads.map(\.id), spare: options.spareIOThreads)
        let context = AttachContext(
            home: home, iothreads: iothreads.running, memory: memory, machine: machine)
        for device in devices {
            device.events = root.events
            try device.findHelper(iothreads)
        }
        let slots = try attach(devices, context, spare: places)
        plan.devices = slots.slots.map { VirtioMMIODevice(slot: $0.number, of: layout.virtio) }
        let initial = try load(plan, files, memory)
        let processors = try makeProcessors(machine, vcpus, initial, filters)
        try iothreads.filter()
        let descriptors = DescriptorStore()
        let manager = SlotManager(
            SlotManager.Context(
                table: slots, iothreads: iothreads,
                backends: UnattachedBackends(descriptors, imagesAreConfined: options.imagesAreConfined),
                runControl: root.runControl, operations: root.operations, events: root.events),
            takesDevices: places.hasSpare, limits: options.limits, objects: options.otherObjects.map(\.id))
        return Machine.Parts(
            slots: manager, descriptors: descriptors, chardevs: chardevs, vcpus: processors, board: board,
            filters: filters, vm: machine)
    }

    /// How many places for devices the guest can find; throws an error if those of the command line are more.
    private func places(_ plan: BootPlan, _ files: borrowing BootFiles) throws(MachineError) -> Places {
        let count = options.devices.count { $0.hasTransport }
        let usesACPI: Bool
        do throws(BootError) {
            usesACPI = try plan.usesACPI(files.kernel)
        } catch {
            throw MachineError(error)
        }
        let slots = layout.slots(acpi: usesACPI)
        guard usesACPI || count <= slots else {
            throw MachineError(
                "-device",
                "there are \(count) devices on MMIO; without ACPI the guest has interrupt lines for \(slots)")
        }
        // A guest without ACPI is StratoVirt's or Kata's, whose clients plug disks in without saying so before.
        return Places(count: slots, hasSpare: options.machine.hotPlug ?? !usesACPI)
    }

    private struct Places {
        let count: Int
        /// Whether some are kept for devices that are plugged in later.
        let hasSpare: Bool
    }

    /// Attaches the devices of the command line, and keeps spare places behind them.
    private func attach(
        _ devices: [any MachineDevice], _ context: AttachContext, spare places: Places
    ) throws(MachineError) -> SlotTable {
        let table = SlotTable()
        let main = DevicePlacement(home)
        for (number, device) in devices.enumerated() {
            try context.attach(
                id: device.id, iothread: device.iothread, slot: number, device.maker)
            let iothread = context.iothreads.first { $0.id == device.iothread }
            table.append(
                SlotTable.Slot(
                    number: number, kind: SlotTable.Kind(device), device: device,
                    placement: iothread.map { DevicePlacement($0, main: reactor) } ?? main))
        }
        guard places.hasSpare else { return table }
        for (kind, wanted) in [
            (SlotTable.Kind.disk, layout.virtio.pluggableDisks), (.networkCard, layout.virtio.pluggableNICs),
        ] {
            while table.slots(of: kind).count < wanted, table.slots.count < places.count {
                let number = table.slots.count
                let id = "slot \(number)"
                try context.attach(
                    id: id, iothread: nil, slot: number, SlotManager.placeholder(kind, id))
                table.append(
                    SlotTable.Slot(number: number, kind: kind, device: nil, placement: main))
            }
        }
        return table
    }

    private func makeMachine(_ memory: GuestMemory) throws(MachineError) -> VirtualMachine {
        let kvm = try hypervisor { () throws(HypervisorError) in try KVM() }
        let most = kvm.maximumVCPUs
        guard options.topology.cpus <= most else {
            throw MachineError("-smp", "this host's KVM runs at most \(most) vCPUs in one machine")
        }
        do {
            return try VirtualMachine(kvm, memory: memory, layout: layout)
        } catch {
            throw MachineError("-accel kvm", "\(error)")
        }
    }

    private func makeProcessors(
        _ machine: VirtualMachine, _ vcpus: [VCPU], _ initial: InitialState, _ filters: SeccompFilters?
    ) throws(MachineError) -> VCPUSet {
        let processors = try hypervisor { () throws(HypervisorError) in
            try VCPUSet(
                vcpus, of: machine, options.topology, initial: initial, bus: bus, reactor: reactor,
                onEnd: root.runControl.vcpuEnded)
        }
        do {
            try processors.start { () throws(Errno) in try filters?.install(.vcpu) }
        } catch {
            throw MachineError("-smp", "cannot start the vCPUs' threads: \(error)")
        }
        return processors
    }

    private func limitReach(_ reach: LandlockPolicy) throws(MachineError) {
        do {
            try reach.limit()
        } catch {
            throw MachineError("-sandbox", "\(error)")
        }
    }

    private func makeFilters(_ needs: SyscallProfile) throws(MachineError) -> SeccompFilters {
        do {
            return try SeccompFilters(needs)
        } catch {
            throw MachineError("seccomp", "cannot filter system calls: \(error); -disable-seccomp goes without")
        }
    }

    private func load(
        _ plan: BootPlan, _ files: borrowing BootFiles, _ memory: GuestMemory
    ) throws(MachineError) -> InitialState {
        do {
            return try plan.load(kernel: files.kernel, initrd: files.initrd, into: memory)
        } catch {
            throw MachineError(error)
        }
    }

    private func hypervisor<T: ~Copyable>(_ body: () throws(HypervisorError) -> T) throws(MachineError) -> T {
        do {
            return try body()
        } catch {
            throw MachineError("-accel kvm", "\(error)")
        }
    }
}

/// What the guest starts from, open for reading.
private struct BootFiles: ~Copyable {
    let kernel: BootFile
    let initrd: BootFile?

    init(_ options: LaunchOptions) throws(MachineError) {
        let kernel = try Self.open(.kernel, options.kernel)
        if let path = options.initrd {
            initrd = try Self.open(.initrd, path)
        } else {
            initrd = nil
        }
        self.kernel = kernel
    }

    private static func open(_ role: BootFile.Role, _ path: String) throws(MachineError) -> BootFile {
        do {
            return try BootFile(role, path: path)
        } catch {
            throw MachineError(error)
        }
    }
}
