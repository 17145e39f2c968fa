import Control
import Host

/// What clients have handed over by `add-fd`: sets of descriptors, each of which stands for one file, opened in several
/// ways. Commands call it `/dev/fdset/N`, as QEMU does.
final class FDSets {
    private var sets: [UInt64: [Member]] = [:]

    private struct Member {
        let number: Int32
        let file: Box<FileDescriptor>
        let opaque: String?

        init(_ file: consuming FileDescriptor, _ opaque: String?) {
            number = file.rawValue
            self.file = Box(file)
            self.opaque = opaque
        }
    }

    private static let prefix = "/dev/fdset/"

    /// How many descriptors there are in all sets.
    var count: Int { sets.values.reduce(0) { $0 + $1.count } }

    /// The sets in the order of their numbers.
    var infos: [FDSetInfo] {
        sets.sorted { $0.key < $1.key }.map { number, members in
            FDSetInfo(
                number: number,
                descriptors: members.map { .init(number: $0.number, opaque: $0.opaque) })
        }
    }

    /// Keeps a descriptor in the set of this number, or in a new one of the lowest that is free; the set's number.
    func add(_ file: consuming FileDescriptor, to wanted: UInt64?, opaque: String?) -> UInt64 {
        var number = wanted ?? 0
        while wanted == nil, sets[number] != nil { number += 1 }
        sets[number, default: []].append(Member(file, opaque))
        return number
    }

    /// Closes the descriptor of this number in a set, or all of them; false if there is none.
    func remove(_ descriptor: UInt64?, from number: UInt64) -> Bool {
        guard let members = sets[number] else { return false }
        let others = descriptor.map { wanted in members.filter { UInt64($0.number) != wanted } } ?? []
        sets[number] = others.isEmpty ? nil : others
        return others.count < members.count
    }

    /// The number of the set that a path names; nil for the path of a file.
    static func number(in path: String) throws(MachineError) -> UInt64? {
        guard path.hasPrefix(prefix) else { return nil }
        let digits = path.utf8.dropFirst(prefix.utf8.count)
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = UInt64(String(Substring(digits)))
        else { throw MachineError(path, "names no set of descriptors; write \(prefix)N with the fdset-id") }
        return number
    }

    /// Another descriptor of the set's file, open as it must be.
    func duplicate(_ number: UInt64, readOnly: Bool) throws(MachineError) -> FileDescriptor {
        let name = Self.prefix + String(number)
        guard let members = sets[number] else {
            throw MachineError(name, "there is no such set of descriptors; add-fd makes one")
        }
        do {
            // One that can do no more than it must is the better one.
            for mode in readOnly ? [OpenOptions.readOnly, .readWrite] : [.readWrite] {
                for member in members {
                    let file = try member.file.read { (file) throws(Errno) -> FileDescriptor? in
                        try file.options().intersection(.accessMode) == mode ? try file.duplicate() : nil
                    }
                    if case .some(.some(let file)) = file { return file }
                }
            }
        } catch {
            throw MachineError(name, "cannot be used: \(error)")
        }
        throw MachineError(
            name,
            readOnly
                ? "no descriptor of this set is open for reading"
                : "no descriptor of this set is open for reading and writing; add-fd one that is, or say read-only")
    }
}
