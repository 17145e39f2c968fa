import Host
import Options

/// What clients have given the machine for devices that are still to come: images that are open, and descriptors.
final class PlugBackends {
    private var drives: [String: Drive] = [:]
    private var descriptors: [String: Descriptor] = [:]
    /// Images that went with their disks, whose removal some clients ask for all the same.
    private var departed: Set<String> = []

    private final class Descriptor {
        let file: FileDescriptor

        init(_ file: consuming FileDescriptor) {
            self.file = file
        }
    }

    /// How many descriptors, and how many names of departed images, are kept at most.
    private static let limit = 64

    // MARK: Images

    /// The images that no disk has yet, by id.
    var driveIDs: [String] { drives.keys.sorted() }

    var unusedDrives: [Drive] { Array(drives.values) }

    func drive(_ id: String) -> Drive? { drives[id] }

    func add(_ drive: Drive) {
        drives[drive.spec.id] = drive
        departed.remove(drive.spec.id)
    }

    /// Takes an image out, for a disk or for good.
    func takeDrive(_ id: String) -> Drive? { drives.removeValue(forKey: id) }

    func noteDeparture(of id: String) {
        if departed.count >= Self.limit { departed.removeAll() }
        departed.insert(id)
    }

    /// Whether the image of this id has gone with its disk, and nobody has asked before.
    func takeDeparture(of id: String) -> Bool { departed.remove(id) != nil }

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
    var numbers: [String: Int32] { descriptors.mapValues { $0.file.rawValue } }
}
