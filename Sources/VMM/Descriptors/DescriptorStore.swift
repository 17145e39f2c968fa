import Control
import Host

/// The descriptors that clients have handed over: under names for taps (`getfd`), in sets for images (`add-fd`).
final class DescriptorStore {
    /// How many descriptors of either kind are kept at most.
    static let limit = 64

    private let sets = FDSets()
    private var named: [String: Box<FileDescriptor>] = [:]

    // MARK: By name

    /// `getfd`: keeps a descriptor under a name, in place of the one that has the name already.
    func keep(_ file: consuming FileDescriptor, as name: String) throws(QMPError) {
        guard named[name] != nil || named.count < Self.limit else {
            throw QMPError("getfd: too many descriptors are kept; closefd those that are not needed")
        }
        named[name] = Box(file)
    }

    /// `closefd`: closes the descriptor of this name.
    func close(_ name: String) throws(QMPError) {
        guard named.removeValue(forKey: name) != nil else {
            throw QMPError("closefd: there is no descriptor named '\(name)'")
        }
    }

    /// The number of each descriptor, by its name.
    var numbers: [String: Int32] { named.compactMapValues { $0.read { $0.rawValue } } }

    /// Leaves the descriptors of these numbers to the tap that takes them over by number, open, and forgets them.
    ///
    /// - Throws: for a number that was not kept under a name, since it may be one of this process's own, or is there
    ///   twice; nothing has been forgotten then.
    func release(_ wanted: [Int32]) throws(QMPError) {
        let kept = Set(numbers.values)
        if let stranger = wanted.first(where: { !kept.contains($0) }) {
            throw QMPError("netdev_add: no descriptor \(stranger) came with getfd; name one that did")
        }
        guard Set(wanted).count == wanted.count else {
            throw QMPError("netdev_add: a descriptor is named twice")
        }
        for (name, number) in numbers where wanted.contains(number) {
            _ = named.removeValue(forKey: name)?.take()?.release()
        }
    }

    // MARK: In sets

    /// `add-fd`: keeps a descriptor in the set of this number, or in a new one; the set's number and the descriptor's.
    func add(
        _ file: consuming FileDescriptor, toSet set: UInt64?, opaque: String?
    ) throws(QMPError) -> (set: UInt64, number: Int32) {
        guard sets.count < Self.limit else {
            throw QMPError("add-fd: too many descriptors are kept; remove-fd those that are not needed")
        }
        let number = file.rawValue
        return (sets.add(file, to: set, opaque: opaque), number)
    }

    /// `remove-fd`: closes the descriptor of this number in a set, or all of them.
    func remove(_ number: UInt64?, fromSet set: UInt64) throws(QMPError) {
        guard sets.remove(number, from: set) else {
            throw QMPError(
                "remove-fd: there is no "
                    + (number.map { "descriptor \($0) in the set \(set)" } ?? "set \(set) of descriptors"))
        }
    }

    /// The sets, in the order of their numbers.
    var infos: [FDSetInfo] { sets.infos }

    /// Another descriptor of the file that a path like `/dev/fdset/N` names; nil for the path of a file.
    func duplicate(_ path: String, readOnly: Bool) throws(MachineError) -> FileDescriptor? {
        guard let set = try FDSets.number(in: path) else { return nil }
        return try sets.duplicate(set, readOnly: readOnly)
    }
}
