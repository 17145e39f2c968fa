import Control
import Host
import Options

/// What the machine has by name, and whether something more goes with it. The start and QMP's commands ask the same
/// inventory.
struct Inventory {
    /// How many of a kind a machine can have.
    var limits: Limits
    /// The devices, in the order of their slots.
    var devices: [any MachineDevice] = []
    /// The images that no disk has yet.
    var unusedDrives: [Drive] = []
    /// The taps that no NIC has yet.
    var unusedNetdevs: [Netdev] = []
    /// The ids of the iothreads.
    var iothreads: [String] = []
    /// The ids of the other objects.
    var objects: [String] = []

    /// The disks among the devices.
    var disks: [Disk] { devices.compactMap { $0 as? Disk } }

    /// The NICs among the devices.
    var nics: [NIC] { devices.compactMap { $0 as? NIC } }

    /// All images.
    var drives: [Drive] { disks.map(\.drive) + unusedDrives }

    /// All taps.
    var netdevs: [Netdev] { nics.map(\.netdev) + unusedNetdevs }

    // MARK: Names and limits

    /// Throws an error if no drive of this id can be added.
    func checkDrive(_ id: String, in command: String) throws(QMPError) {
        guard !drives.contains(where: { $0.spec.id == id }) else {
            throw QMPError("\(command): \(id) is registered already; choose another node-name")
        }
        guard drives.count < limits.disks else {
            throw QMPError("\(command): a MicroVm has at most \(limits.disks) disks")
        }
    }

    /// Throws an error if no netdev of this id can be added.
    func checkNetdev(_ id: String, in command: String) throws(QMPError) {
        guard !netdevs.contains(where: { $0.spec.id == id }) else {
            throw QMPError("\(command): \(id) is registered already; choose another id")
        }
        guard netdevs.count < limits.nics else {
            throw QMPError("\(command): a MicroVm has at most \(limits.nics) network cards")
        }
    }

    /// Throws an error if no iothread of this id can be added.
    func checkIOThread(_ id: String, in command: String) throws(QMPError) {
        guard !iothreads.contains(id), !objects.contains(id) else {
            throw QMPError("\(command): there is an object '\(id)' already")
        }
        guard iothreads.count < limits.iothreads else {
            throw QMPError("\(command): a MicroVm has at most \(limits.iothreads) iothreads")
        }
    }

    /// Throws an error if no device of this id can be added.
    func checkDevice(_ id: String, in command: String) throws(QMPError) {
        guard device(id) == nil else { throw QMPError("\(command): there is a device '\(id)' already") }
    }

    // MARK: Conflicts

    /// The drive that keeps another one from having the same image: one of them writes it.
    func drive(conflictingWith drive: Drive) -> Drive? { drives.first { $0.conflicts(with: drive) } }

    /// What is wrong with one more drive on an image.
    enum ImageConflict {
        /// This drive or the new one writes it.
        case written(Drive)
        /// This drive and the new one share one open file, which is direct for both or for none.
        case sharedButNotDirect(Drive)
    }

    /// What keeps a drive from having the image `file`, which a client has opened; nil if nothing does.
    func conflict(of spec: DriveSpec, on file: FileStatus) -> ImageConflict? {
        for other in drives where other.isImage(file) {
            guard spec.isReadOnly, other.spec.isReadOnly else { return .written(other) }
            guard !other.isHandedOver || other.spec.isDirect == spec.isDirect else { return .sharedButNotDirect(other) }
        }
        return nil
    }

    /// The address of one more NIC: its own, or a random one that no other NIC has.
    ///
    /// - Parameter subject: of errors.
    func macAddress(for spec: NetworkDeviceSpec, _ subject: String) throws(MachineError) -> MACAddress {
        guard let mac = spec.mac else {
            while true {
                let mac = MACAddress.random()
                if !nics.contains(where: { $0.mac == mac }) { return mac }
            }
        }
        guard mac.isUsable else {
            throw MachineError(
                subject, "mac=\(mac) is not a unicast address; use an even first octet, and not zeroes alone")
        }
        if let other = nics.first(where: { $0.mac == mac }) {
            throw MachineError(subject, "mac=\(mac) is also the address of '\(other.id)'; use another one")
        }
        return mac
    }

    // MARK: Who uses what

    /// The device of this id.
    func device(_ id: String) -> (any MachineDevice)? { devices.first { $0.id == id } }

    /// The disk that has the drive of this id.
    func disk(ofDrive id: String) -> Disk? { disks.first { $0.drive.spec.id == id } }

    /// The NIC that has the netdev of this id.
    func nic(ofNetdev id: String) -> NIC? { nics.first { $0.netdev.spec.id == id } }

    /// A device that lives on the iothread of this id, or has it do a part of its work.
    func user(ofIOThread id: String) -> (any MachineDevice)? {
        devices.first { $0.iothread == id || $0.helper == id }
    }

    // MARK: Locks

    /// Takes the locks of all images again. The process loses those of a file with any descriptor of it that it closes.
    func renewLocks() {
        for drive in drives { drive.renewLock() }
    }
}
