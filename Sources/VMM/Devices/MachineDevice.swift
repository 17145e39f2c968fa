import EventLoop
import Options
import Virtio

/// A device of the machine as the main reactor knows it: what its options say, and the host's objects that it needs,
/// opened and checked. What serves the guest's driver is made from it on the reactor where it shall live.
protocol MachineDevice: AnyObject {
    /// Its name in QMP, in messages and in the log.
    var id: String { get }
    /// Its type, as `-device` has it.
    var type: String { get }
    /// The id of the iothread it lives on; nil for the main reactor.
    var iothread: String? { get }
    /// The id of another iothread that does a part of its work; nil for the main reactor.
    var helper: String? { get }
    /// The reactor of `helper`, if it is not the device's own.
    var helperReactor: ReactorHandle? { get set }
    /// By what the device tells clients of its troubles.
    var events: EventSink? { get set }
    /// Makes what serves the driver, on the reactor where it shall live; once.
    var maker: DeviceMaker { get }
    /// The machine is about to run, for the first time or again.
    ///
    /// - Throws: why it must not.
    func prepareToRun() throws(MachineError)
    /// The device is unplugged, or the machine has ended, or could not be started: leaves the host as it was found.
    func finish()
}

/// Makes a device on the reactor that calls it, with at least the queues that the slot's driver has set up already.
typealias DeviceMaker =
    @Sendable (_ reactor: Reactor, _ minimumQueues: QueueLimits) throws(MachineError) -> VirtioDevice

extension MachineDevice {
    var iothread: String? { nil }

    /// Most devices live on one reactor.
    var helper: String? { iothread }

    var helperReactor: ReactorHandle? {
        get { nil }
        set {}
    }

    /// Most devices have nothing to tell.
    var events: EventSink? {
        get { nil }
        set {}
    }

    func prepareToRun() throws(MachineError) {}

    func finish() {}

    /// Finds the reactor of its helper.
    func findHelper(_ iothreads: IOThreads) throws(MachineError) {
        guard helper != iothread else { return }
        guard let placement = iothreads.placement(of: helper) else {
            throw MachineError("-device id=\(id)", "there is no -object iothread,id=\(helper ?? "")")
        }
        helperReactor = placement.handle
    }
}

/// Opens what the devices of the command line need of the host, in the order of the command line.
struct DeviceOpener {
    let options: LaunchOptions
    let chardevs: Chardevs

    /// - Throws: for the first device that cannot be had. Nothing has been created for the guest yet.
    func open() throws(MachineError) -> [any MachineDevice] {
        var inventory = Inventory(limits: options.limits)
        for spec in options.devices {
            if let device = try open(spec, beside: inventory) { inventory.devices.append(device) }
        }
        return inventory.devices
    }

    /// Opens one device; nil for one that has no registers of its own.
    private func open(
        _ spec: DeviceSpec, beside inventory: Inventory
    ) throws(MachineError) -> (any MachineDevice)? {
        switch spec {
        case .block(let spec): try openDisk(spec, beside: inventory)
        case .serialBus(let spec): try SerialBus(spec, options, chardevs)
        case .vsock(let spec): try openVsock(spec)
        case .entropy(let spec): try openEntropy(spec)
        case .balloon(let spec): Balloon(spec, memory: options.memoryBackend.size)
        case .network(let spec): try openNIC(spec, beside: inventory)
        case .fileSystem(let spec): try FileSystem(spec, options)
        case .console, .serialPort: nil
        }
    }

    private func openEntropy(_ spec: EntropyDeviceSpec) throws(MachineError) -> Entropy {
        guard case .random(let source) = options.object(spec.source) else {
            throw MachineError("-device virtio-rng-device", "there is no -object rng-random,id=\(spec.source)")
        }
        return try Entropy(source, spec)
    }

    private func openNIC(
        _ spec: NetworkDeviceSpec, beside inventory: Inventory
    ) throws(MachineError) -> NIC {
        guard let netdev = options.netdev(spec.netdev) else {
            throw MachineError("-device virtio-net-device", "there is no -netdev id=\(spec.netdev)")
        }
        return try NIC(
            try Netdev(netdev, "-netdev id=\(netdev.id)"), spec, beside: inventory)
    }

    private func openDisk(
        _ spec: BlockDeviceSpec, beside inventory: Inventory
    ) throws(MachineError) -> Disk {
        guard let drive = options.drive(spec.drive) else {
            throw MachineError("-device virtio-blk-device", "there is no -drive id=\(spec.drive)")
        }
        let opened = try Drive(drive, "-drive id=\(drive.id)")
        if let other = inventory.drive(conflictingWith: opened) {
            throw MachineError(
                "-drive id=\(drive.id)",
                "'\(drive.file)' is also the image of -drive id=\(other.spec.id); use it once, or readonly=on in both")
        }
        return Disk(opened, spec)
    }
}
