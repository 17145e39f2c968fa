import Host
import Options

/// What clients have given the machine for devices that are still to come: images and taps that
/// are open, and descriptors.
final class UnattachedBackends {
    let fdSets = FDSets()
    private var drives: [String: Drive] = [:]
    private var netdevs: [String: Netdev] = [:]
    private var descriptors: [String: Descriptor] = [:]
    /// Images and taps that went with their devices, whose removal some clients ask for all the same.
    private var departed: Set<String> = []

    private final class Descriptor {
        private var file: FileDescriptor?

        init(_ file: consuming FileDescriptor) {
            self.file = consume file
        }

        /// Leaves it open, to whoever has taken it over by its number.
        func release() { _ = file.take()?.release() }

        var number: Int32 { file?.rawValue ?? -1 }
    }

    /// How many descriptors of either kind, and how many names of departed images, are kept at most.
    static let limit = 64

    // MARK: Images

    /// The images that no disk has yet, by id.
    var driveIDs: [String] { drives.keys.sorted() }

    var unusedDrives: [Drive] { Array(drives.values) }

    func add(_ drive: Drive) {
        drives[drive.spec.id] = drive
        departed.remove(drive.spec.id)
    }

    /// Takes an image out, for a disk or for good.
    func takeDrive(_ id: String) -> Drive? { drives.removeValue(forKey: id) }

    func rememberRemoved(of id: String) {
        if departed.count >= Self.limit { departed.removeAll() }
        departed.insert(id)
    }

    /// Whether what has this id has gone with its device, and nobody has asked before.
    func wasRemoved(of id: String) -> Bool { departed.remove(id) != nil }

    // MARK: Taps

    /// The taps that no card has yet.
    var unusedNetdevs: [Netdev] { Array(netdevs.values) }

    func add(_ netdev: Netdev) {
        netdevs[netdev.spec.id] = netdev
        departed.remove(netdev.spec.id)
    }

    /// Takes a tap out, for a card or for good.
    func takeNetdev(_ id: String) -> Netdev? { netdevs.removeValue(forKey: id) }

    // MARK: Descriptors

    /// Keeps a descriptor under a name, in place of one that has the name already; false if there are too many.
    func keep(_ file: consuming FileDescriptor, as name: String) -> Bool {
        guard descriptors[name] != nil || descriptors.count < Self.limit else { return false }
        descriptors[name] = Descriptor(file)
        return true
    }

    /// Closes the descriptor of this name; false if there is none.
    func close(_ name: String) -> Bool { descriptors.removeValue(forKey: name) != nil }

    /// The number of each descriptor, by its name.
    var numbers: [String: Int32] { descriptors.mapValues(\.number) }

    /// Forgets descriptors that a tap has taken over.
    func release(_ numbers: [Int32]) {
        for (name, descriptor) in descriptors where numbers.contains(descriptor.number) {
            descriptor.release()
            descriptors[name] = nil
        }
    }
}
