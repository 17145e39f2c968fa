import Control
import Host
import TestSupport
import Testing

@testable import VMM

@Suite struct FDSetsTests {
    private let sets = FDSets()
    private let image: TemporaryFile

    init() throws {
        image = try TemporaryFile(size: 4096)
    }

    private func add(_ options: OpenOptions, to number: UInt64? = nil, opaque: String? = nil) throws -> UInt64 {
        sets.add(try FileDescriptor.open(image.path, options), to: number, opaque: opaque)
    }

    @Test func numbersSetsAsAskedForOrWithTheLowestThatIsFree() throws {
        #expect(try add(.readOnly) == 0)
        #expect(try add(.readOnly, to: 2) == 2)
        #expect(try add(.readOnly) == 1)
        #expect(try add(.readWrite, opaque: "x") == 3)
        #expect(try add(.readWrite, to: 2, opaque: "y") == 2)
        #expect(sets.infos.map(\.number) == [0, 1, 2, 3])
        #expect(sets.infos.map { $0.descriptors.map(\.opaque) } == [[nil], [nil], [nil, "y"], ["x"]])
        #expect(sets.count == 5)
        #expect(sets.remove(nil, from: 1))
        #expect(try add(.readOnly) == 1)
        #expect(try add(.readOnly, to: UInt64(Int64.max)) == UInt64(Int64.max))
    }

    @Test func closesWhatIsRemoved() throws {
        let ends = try Socket.pair()
        let number = ends.first.rawValue
        let theirs = ends.second
        #expect(sets.add(ends.first, to: 1, opaque: nil) == 1)
        #expect(sets.infos.first?.descriptors == [.init(number: number)])
        _ = try add(.readOnly, to: 1)
        #expect(!sets.remove(UInt64(number), from: 0) && !sets.remove(UInt64(theirs.rawValue), from: 1))
        #expect(!sets.remove(UInt64.max, from: 1) && !sets.remove(nil, from: 7))
        #expect(sets.count == 2)
        try theirs.setNonBlocking(true)
        #expect(throws: Errno.again) { try theirs.read(count: 1) }
        #expect(sets.remove(UInt64(number), from: 1))
        #expect(try theirs.read(count: 1) == [])
        #expect(sets.count == 1)
        #expect(sets.remove(nil, from: 1) && sets.infos.isEmpty)
    }

    @Test func findsADescriptorThatIsOpenForTheImage() throws {
        _ = try add(.writeOnly, to: 1)
        #expect(throws: MachineError.self) { _ = try sets.duplicate(1, readOnly: true) }
        _ = try add(.readWrite, to: 1)
        #expect(try sets.duplicate(1, readOnly: true).options().intersection(.accessMode) == .readWrite)
        _ = try add(.readOnly, to: 1)
        #expect(try sets.duplicate(1, readOnly: true).options().intersection(.accessMode) == .readOnly)
        let image = try sets.duplicate(1, readOnly: false)
        #expect(try image.options().intersection(.accessMode) == .readWrite)
        #expect(sets.remove(nil, from: 1))
        #expect(try FileStatus(of: image).size == 4096, "it is the image's own")
        #expect(throws: MachineError.self) { _ = try sets.duplicate(1, readOnly: true) }
    }

    @Test(arguments: [
        ("/dev/fdset/0", 0), ("/dev/fdset/18446744073709551615", UInt64.max), ("/dev/fdset", nil), ("/dev/sda", nil),
        ("dev/fdset/1", nil), ("/srv/dev/fdset/1", nil),
    ])
    func tellsSetsFromFiles(path: String, number: UInt64?) throws {
        #expect(try FDSets.number(in: path) == number)
    }

    @Test(arguments: ["", "x", "1x", "+1", "-1", "1/", " 1", "18446744073709551616", "٣"])
    func refusesWhatNamesNoSet(name: String) {
        #expect(throws: MachineError.self) { try FDSets.number(in: "/dev/fdset/\(name)") }
    }
}
