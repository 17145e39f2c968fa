import Host
import Testing

@Suite struct BoxTests {
    @Test func lendsAndGivesAwayWhatItHolds() throws {
        let ends = try Socket.pair()
        let first = ends.first.rawValue
        let box = Box(ends.first)
        #expect(box.read { $0.rawValue } == first)
        #expect(number(box.take()) == first)
        #expect(box.read { $0.rawValue } == nil)
        #expect(number(box.take()) == nil)
    }

    private func number(_ file: consuming FileDescriptor?) -> Int32? { file?.rawValue }

    @Test func passesAnErrorOn() throws {
        let box = Box(try FileDescriptor.open("/dev/null", .writeOnly))
        #expect(throws: Errno.badDescriptor) { try box.read { (file) throws(Errno) in try file.read(count: 1) } }
    }

    @Test func closesWhatItStillHolds() throws {
        let ends = try Socket.pair()
        var box: Box<FileDescriptor>? = Box(ends.first)
        #expect(box != nil)
        box = nil
        #expect(try ends.second.read(count: 1) == [], "the other end is closed")
    }
}
