import Backends
import Host
import TestSupport
import Testing

@Suite struct RawImageTests {
    private func problem(_ path: String, readOnly: Bool = false, direct: Bool = false) -> String? {
        do {
            _ = try RawImage(path: path, readOnly: readOnly, direct: direct)
            return nil
        } catch {
            #expect(error.path == path)
            return error.problem
        }
    }

    @Test(arguments: [false, true]) func opensARegularFile(direct: Bool) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: direct)
        #expect(image.size == 1 << 20)
        #expect(image.isDirect == direct)
        #expect(image.limits.logicalBlockSize == 512)
        #expect(image.limits.physicalBlockSize >= 512)
        #expect(direct ? image.alignment.offset >= 512 : image.alignment.offset == 1)
        let other = try RawImage(path: file.path, readOnly: true, direct: false)
        #expect(other.identity == image.identity)
    }

    @Test func refusesWhatIsNoImage() throws {
        let kind = "is neither a regular file nor a block device"
        #expect(problem("/dev/null") == kind)
        #expect(problem("/", readOnly: true) == kind)
        #expect(problem("/", readOnly: false)?.hasPrefix("Is a directory") == true)
        #expect(problem("/nowhere/at/all") == "No such file or directory")
        #expect(problem("a\0b") == "Invalid argument")
    }

    @Test func saysWhenDirectIsNotToBeHad() throws {
        #expect(
            problem("/proc/self/status", readOnly: true, direct: true)
                == "its file system does not support direct I/O; use direct=off")
        let file = try TemporaryFile(size: 1000)
        #expect(problem(file.path, direct: true)?.contains("not a multiple of 512,") == true)
        #expect(problem(file.path, direct: false) == nil)
        #expect(problem(file.path, readOnly: true, direct: true) == nil)
    }

    // MARK: Handed over

    private func problem(
        handedOver path: String, _ options: OpenOptions, readOnly: Bool = false, direct: Bool = false
    ) throws -> String? {
        let file = try FileDescriptor.open(path, options)
        do {
            _ = try RawImage(handedOver: file, name: "/dev/fdset/1", readOnly: readOnly, direct: direct)
            return nil
        } catch {
            #expect(error.path == "/dev/fdset/1")
            return error.problem
        }
    }

    @Test(arguments: [false, true], [OpenOptions.readWrite, [.readWrite, .direct, .append, .nonBlocking]])
    func usesAFileAsTheImageNeedsIt(direct: Bool, opened: OpenOptions) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let theirs = try FileDescriptor.open(file.path, opened)
        let image = try RawImage(handedOver: theirs.duplicate(), name: "x", readOnly: false, direct: direct)
        #expect(image.size == 1 << 20 && image.isDirect == direct)
        #expect(direct ? image.alignment.offset >= 512 : image.alignment.offset == 1)
        let options = try theirs.options().intersection([.direct, .append, .nonBlocking])
        #expect(options == (direct ? .direct : []))
        #expect(try RawImage(path: file.path, readOnly: true, direct: false).identity == image.identity)
    }

    @Test func refusesAFileThatIsNotOpenForIt() throws {
        let file = try TemporaryFile(size: 4096)
        #expect(try problem(handedOver: file.path, .readOnly) == "is not open for reading and writing")
        #expect(try problem(handedOver: file.path, .writeOnly) == "is not open for reading and writing")
        #expect(try problem(handedOver: file.path, .writeOnly, readOnly: true) == "is not open for reading")
        #expect(try problem(handedOver: file.path, .pathOnly, readOnly: true) == "is not open for reading")
        #expect(try problem(handedOver: file.path, .readOnly, readOnly: true) == nil)
        #expect(try problem(handedOver: file.path, .readWrite, readOnly: true) == nil)
    }

    @Test func refusesAnythingElseThatIsOpen() throws {
        let kind = "is neither a regular file nor a block device"
        #expect(try problem(handedOver: "/dev/null", .readWrite) == kind)
        #expect(try problem(handedOver: "/", [.readOnly, .directory], readOnly: true) == kind)
        #expect(
            try problem(handedOver: "/proc/self/status", .readOnly, readOnly: true, direct: true)
                == "its file system does not support direct I/O; use direct=off")
        let file = try TemporaryFile(size: 1000)
        #expect(
            try problem(handedOver: file.path, .readWrite, direct: true)?.contains("not a multiple of 512,")
                == true)
    }

    @Test func neverLooksForAnotherFormat() throws {
        let file = try TemporaryFile(size: 4096)
        try file.write(Array("QFI\u{fb}".utf8))
        #expect(try RawImage(path: file.path, readOnly: false, direct: false).size == 4096)
    }

    @Test func seesANewSize() throws {
        let file = try TemporaryFile(size: 4096)
        let image = try RawImage(path: file.path, readOnly: false, direct: false)
        try file.truncate(to: 8192)
        #expect(image.size == 4096)
        try image.refreshSize()
        #expect(image.size == 8192)
    }

    @Test func locksAndUnlocks() throws {
        // Record locks do not exclude their own process; that others are kept out is for the tests of the whole.
        let file = try TemporaryFile(size: 4096)
        let image = try RawImage(path: file.path, readOnly: false, direct: false)
        try image.lock()
        let lines = try String(decoding: readAll("/proc/locks"), as: UTF8.self).split(separator: "\n")
        let mine = lines.filter { $0.contains(":\(image.identity.inode) ") && $0.contains("WRITE") }
        #expect(mine.compactMap { $0.split(separator: " ").suffix(2).first }.sorted() == ["101", "202"])
        image.unlock()
        let after = try String(decoding: readAll("/proc/locks"), as: UTF8.self)
        #expect(!after.contains(":\(image.identity.inode) "))
    }

    private func readAll(_ path: String) throws -> [UInt8] {
        let file = try FileDescriptor.open(path, .readOnly)
        var all: [UInt8] = []
        while true {
            let part = try file.read(count: 65536)
            if part.isEmpty { return all }
            all += part
        }
    }
}
