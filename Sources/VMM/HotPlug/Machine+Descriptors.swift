import Control
import Host
import Options

extension Machine {
    // MARK: By name, for taps

    func keepDescriptor(_ file: consuming FileDescriptor, as name: String) throws(QMPError) {
        let isKept = backends.keep(file, as: name)
        // One is closed that had the name before, or finds no room. It may have been of an image.
        renewLocks()
        guard isKept else {
            throw QMPError("getfd: too many descriptors are kept; closefd those that are not needed")
        }
    }

    func closeDescriptor(_ name: String) throws(QMPError) {
        guard backends.close(name) else { throw QMPError("closefd: there is no descriptor named '\(name)'") }
        // It may have been of an image.
        renewLocks()
    }

    var descriptorNumbers: [String: Int32] { backends.numbers }

    // MARK: In sets, for images

    func addDescriptor(
        _ file: consuming FileDescriptor, toSet set: UInt64?, opaque: String?
    ) throws(QMPError) -> (set: UInt64, number: Int32) {
        guard backends.fdSets.count < UnattachedBackends.limit else {
            throw QMPError("add-fd: too many descriptors are kept; remove-fd those that are not needed")
        }
        let number = file.rawValue
        return (backends.fdSets.add(file, to: set, opaque: opaque), number)
    }

    func removeDescriptor(_ number: UInt64?, fromSet set: UInt64) throws(QMPError) {
        guard backends.fdSets.remove(number, from: set) else {
            throw QMPError(
                "remove-fd: there is no "
                    + (number.map { "descriptor \($0) in the set \(set)" } ?? "set \(set) of descriptors"))
        }
        renewLocks()
    }

    var descriptorSets: [FDSetInfo] { backends.fdSets.infos }

    /// Opens the image of a disk to come: a file, or what is in a set of descriptors.
    ///
    /// - Parameter others: the drives that there are.
    func open(_ spec: DriveSpec, beside others: [Drive]) throws(MachineError) -> Drive {
        let place = "blockdev-add node-name=\(spec.id)"
        guard let set = try FDSets.number(in: spec.file) else {
            return try Drive(spec, place, ifDenied: options.imagesAreConfined ? Self.wayIn : nil)
        }
        let file = try backends.fdSets.duplicate(set, readOnly: spec.isReadOnly)
        do {
            // Before anything is changed that another disk would notice.
            let status = try FileStatus(of: file)
            for other in others where other.isImage(status) {
                guard spec.isReadOnly, other.spec.isReadOnly else { throw isInUse(spec, by: other) }
                guard !other.isHandedOver || other.spec.isDirect == spec.isDirect else {
                    throw MachineError(
                        place,
                        "'\(spec.file)' is the image of \(other.spec.id) too, and a file that is open once is direct "
                            + "for both or for none; say the same of cache.direct")
                }
            }
        } catch let error as MachineError {
            throw error
        } catch {
            throw MachineError(place, "'\(spec.file)': \(error)")
        }
        return try Drive(spec, place, handedOver: file)
    }

    /// What is to be done about an image that Landlock keeps out of reach. The kernel does not tell whether it was
    /// Landlock.
    private static let wayIn =
        "it is not among -sandbox landlock-paths=, or this user may not read it; name it there, or hand it over by "
        + "add-fd and call it /dev/fdset/N"

    /// The error for an image that two drives cannot have.
    func isInUse(_ spec: DriveSpec, by other: Drive) -> MachineError {
        MachineError(
            "blockdev-add node-name=\(spec.id)",
            "'\(spec.file)' is also the image of \(other.spec.id); use it once, or read-only in both")
    }

    /// Takes the locks of all images anew, after a descriptor was closed that may have been one of theirs.
    func renewLocks() {
        for drive in drives { drive.renewLock() }
    }
}
