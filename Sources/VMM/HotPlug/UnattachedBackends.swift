import Control
import Host
import Options

/// The images and taps that clients have opened for devices to come.
final class UnattachedBackends {
    private let descriptors: DescriptorStore
    private let imagesAreConfined: Bool
    private var drives: [String: Drive] = [:]
    private var netdevs: [String: Netdev] = [:]
    /// The ids of backends that went with their devices, whose removal some clients ask for all the same.
    private var removed: Set<String> = []

    /// How many ids of removed backends are remembered at most.
    private static let limit = 64

    /// - Parameters:
    ///   - descriptors: what clients have handed over.
    ///   - imagesAreConfined: whether Landlock lets images be opened at some paths only.
    init(_ descriptors: DescriptorStore, imagesAreConfined: Bool) {
        self.descriptors = descriptors
        self.imagesAreConfined = imagesAreConfined
    }

    // MARK: Images

    /// The images that no disk has yet.
    var unusedDrives: [Drive] { Array(drives.values) }

    /// `blockdev-add`: opens an image.
    ///
    /// - Parameter inventory: what the machine has, these images among it.
    func addDrive(_ spec: DriveSpec, beside inventory: Inventory) throws(QMPError) {
        try inventory.checkDrive(spec.id, in: "blockdev-add")
        do throws(MachineError) {
            let drive = try open(spec, beside: inventory)
            if let other = inventory.drive(conflictingWith: drive) { throw Self.isInUse(spec, by: other) }
            add(drive)
        } catch {
            // The file that was opened and closed may be the image of another drive.
            inventory.renewLocks()
            throw QMPError("\(error)")
        }
    }

    /// Keeps an image for a disk to come.
    func add(_ drive: Drive) {
        drives[drive.spec.id] = drive
        removed.remove(drive.spec.id)
    }

    /// Hands an image over to its disk.
    func takeDrive(_ id: String) -> Drive? { drives.removeValue(forKey: id) }

    /// `blockdev-del`: closes an image that no disk has. That of an unplugged disk is closed already.
    func removeDrive(_ id: String, beside inventory: Inventory) throws(QMPError) {
        if let drive = takeDrive(id) {
            drive.close()
            return inventory.renewLocks()
        }
        if removed.remove(id) != nil { return }
        if let disk = inventory.disk(ofDrive: id) {
            throw QMPError("blockdev-del: \(id) is in use by the device \(disk.id); device_del takes both away")
        }
        throw QMPError("blockdev-del: there is no node '\(id)'")
    }

    /// Opens a file, or takes what is in a set of descriptors.
    private func open(_ spec: DriveSpec, beside inventory: Inventory) throws(MachineError) -> Drive {
        let subject = Self.subject(spec)
        guard let file = try descriptors.duplicate(spec.file, readOnly: spec.isReadOnly) else {
            return try Drive(spec, subject, ifDenied: imagesAreConfined ? Self.wayIn : nil)
        }
        let status: FileStatus
        do {
            status = try FileStatus(of: file)
        } catch {
            throw MachineError(subject, "'\(spec.file)': \(error)")
        }
        // Before anything changes that another disk would notice.
        switch inventory.conflict(of: spec, on: status) {
        case .written(let other)?: throw Self.isInUse(spec, by: other)
        case .sharedButNotDirect(let other)?:
            throw MachineError(
                subject,
                "'\(spec.file)' is the image of \(other.spec.id) too, and a file that is open once is direct "
                    + "for both or for none; say the same of cache.direct")
        case nil: return try Drive(spec, subject, handedOver: file)
        }
    }

    private static func subject(_ spec: DriveSpec) -> String { "blockdev-add node-name=\(spec.id)" }

    private static func isInUse(_ spec: DriveSpec, by other: Drive) -> MachineError {
        MachineError(
            subject(spec), "'\(spec.file)' is also the image of \(other.spec.id); use it once, or read-only in both")
    }

    /// What is to be done about an image that Landlock keeps out of reach. The kernel does not tell whether it was
    /// Landlock.
    private static let wayIn =
        "it is not among -sandbox landlock-paths=, or this user may not read it; name it there, or hand it over by "
        + "add-fd and call it /dev/fdset/N"

    // MARK: Taps

    /// The taps that no NIC has yet.
    var unusedNetdevs: [Netdev] { Array(netdevs.values) }

    /// `netdev_add`: opens a tap; descriptors that it names are the tap's from then on, even if it cannot use them.
    ///
    /// - Parameter inventory: what the machine has, these taps among it.
    func addNetdev(_ spec: NetdevSpec, beside inventory: Inventory) throws(QMPError) {
        try inventory.checkNetdev(spec.id, in: "netdev_add")
        guard case .tap(let tap) = spec.backend else {
            throw QMPError("netdev_add: only a tap can be added while the machine runs")
        }
        try descriptors.release(
            (tap.interface == nil ? tap.descriptors : []) + (tap.usesVhost ? tap.vhostDescriptors : []))
        do throws(MachineError) {
            add(try Netdev(spec, "netdev_add id=\(spec.id)"))
        } catch {
            throw QMPError("\(error)")
        }
    }

    /// Keeps a tap for a NIC to come.
    func add(_ netdev: Netdev) {
        netdevs[netdev.spec.id] = netdev
        removed.remove(netdev.spec.id)
    }

    /// Hands a tap over to its NIC.
    func takeNetdev(_ id: String) -> Netdev? { netdevs.removeValue(forKey: id) }

    /// `netdev_del`: closes a tap that no NIC has. That of an unplugged NIC is closed already.
    func removeNetdev(_ id: String, beside inventory: Inventory) throws(QMPError) {
        if takeNetdev(id) != nil || removed.remove(id) != nil { return }
        if let nic = inventory.nic(ofNetdev: id) {
            throw QMPError("netdev_del: \(id) is in use by the device \(nic.id); device_del takes both away")
        }
        throw QMPError("netdev_del: there is no netdev '\(id)'")
    }

    // MARK: Removed ones

    /// Remembers a backend that went with its device.
    func rememberRemoved(_ id: String) {
        if removed.count >= Self.limit { removed.removeAll() }
        removed.insert(id)
    }
}
