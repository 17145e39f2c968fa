import Testing

@testable import Host

@Suite struct HostTests {
    @Test func slicesNeverReachOutside() {
        let buffer = IOBuffer(capacity: 16)
        let slice = buffer.all
        #expect(slice.store(UInt32(0x0403_0201), at: 12))
        #expect(slice.load(at: 12, as: UInt32.self) == 0x0403_0201)
        #expect(slice.load(at: 13, as: UInt32.self) == nil)
        #expect(slice.load(at: -1, as: UInt8.self) == nil)
        #expect(slice.load(at: Int.max, as: UInt64.self) == nil)
        #expect(!slice.store(UInt64(1), at: 9))
        #expect(slice.slice(at: 16, count: 0)?.count == 0)
        #expect(slice.slice(at: 17, count: 0) == nil)
        #expect(slice.slice(at: 1, count: Int.max) == nil)
        #expect(slice.prefix(-3).count == 0)
        #expect(slice.dropFirst(99).count == 0)
        #expect(slice.byte(at: 15) == 4)
        #expect(!slice.isZero)
        slice.fill(0)
        #expect(slice.isZero)
    }

    @Test func advancingVectorsKeepsWhatIsLeft() {
        let buffer = IOBuffer(capacity: 100)
        let vectors = IOVectors(capacity: 3)
        for index in 0..<3 { vectors.set(index, buffer.all.slice(at: index * 30, count: 30) ?? buffer.all) }
        #expect(!vectors.set(3, buffer.all))
        #expect(vectors.advance(0..<3, by: 0) == 0..<3)
        #expect(vectors.advance(0..<3, by: 30) == 1..<3)
        #expect(vectors.advance(1..<3, by: 45) == 2..<3)
        #expect(vectors.slice(2)?.count == 15)
        #expect(vectors.slice(2)?.address == buffer.all.address + 75)
        #expect(vectors.advance(2..<3, by: 15) == 3..<3)
    }

    @Test func filesReadBackWhatWasWritten() throws {
        let file = try FileDescriptor.memory(name: "test")
        let buffer = IOBuffer(capacity: 10)
        buffer.all.fill(7)
        try file.writeFully(from: buffer.all, at: 5)
        #expect(try FileStatus(of: file).size == 15)
        #expect(try file.read(count: 100, at: 0) == [UInt8](repeating: 0, count: 5) + [UInt8](repeating: 7, count: 10))
        #expect(throws: Errno.noEntry) { _ = try FileDescriptor.open("/does/not/exist", .readOnly) }
        #expect(throws: Errno.invalidArgument) { _ = try FileDescriptor.open("/dev/null\0x", .readOnly) }
        #expect("\(Errno.noEntry)" == "No such file or directory")
    }

    @Test func eventsCount() throws {
        let event = try EventFD()
        #expect(event.take() == nil)
        event.signal()
        event.signal()
        #expect(event.take() == 2)
    }

    @Test func threadsRunAndJoin() throws {
        let word = Futex(0)
        let thread = try HostThread(name: "a name longer than fifteen bytes") {
            word.store(1)
            word.wake()
        }
        while word.load() == 0 { word.wait(while: 0) }
        thread.join()
        #expect(HostThread.availableCPUs >= 1)
    }

    @Test func logTimesAreISO8601() {
        #expect(Log.timeStamp(0) == "1970-01-01T00:00:00.000000Z")
        #expect(Log.timeStamp(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z")
    }

    @Test func eachPlaceInTheProgramMaySayOnlySoMuch() {
        var sites = CallSites()
        let (one, other) = (CallSite("one", 1), CallSite("one", 2))
        let second: UInt64 = 1_000_000_000
        let start = 1000 * second
        for number in 0..<UInt64(250) { #expect(sites.admit(one, at: start + number) == (number < 100 ? 0 : nil)) }
        #expect(sites.admit(other, at: start) == 0)
        #expect(sites.admit(one, at: start + 9 * second) == nil)
        #expect(sites.admit(one, at: start + 10 * second) == 151)
        #expect(sites.admit(one, at: start + 10 * second) == 0)
        #expect(LogLimit.note(0) == "" && LogLimit.note(151) == " (and 151 more such lines before)")
    }

    @Test(arguments: ["x", "é", "€", "🐦"]) func aLineIsShortAndWhole(character: String) {
        for count in [10, 4000, 4040, 4041, 4042, 4043, 4044, 4050, 10_000] {
            let text = String(repeating: character, count: count / character.utf8.count)
            let line = LogLine(.warn, "disk\n0", text)
            #expect(line.bytes.count <= LogLine.longest && line.bytes.last == UInt8(ascii: "\n"))
            let shown = String(validating: line.bytes, as: UTF8.self)
            #expect(shown?.dropFirst(27).hasPrefix(" WARN disk?0: \(character)") == true)
            #expect(count > 4040 || shown?.hasSuffix(text + "\n") == true)
            if count == 10_000 { #expect(line.bytes.count >= LogLine.longest - 4) }
        }
    }

    @Test func whatTheLogCannotTakeIsCounted() throws {
        let pipe = try HostProcess.pipe()
        var output = LogOutput()
        output.descriptor = pipe.second.rawValue
        let line = LogLine(.info, "disk0", String(repeating: "x", count: 1000))
        for _ in 0..<1000 { output.write(line) }
        var read: [UInt8] = []
        try pipe.first.setNonBlocking(true)
        while let more = try? pipe.first.read(count: 65536), !more.isEmpty { read += more }
        let taken = read.count / line.bytes.count
        #expect(read.count % line.bytes.count == 0 && (10..<1000).contains(taken))
        output.write(line)
        let lines = String(decoding: try pipe.first.read(count: 65536), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.first?.contains(" WARN log: \(1000 - taken) lines were lost: ") == true)
        #expect(lines.last?.contains(" INFO disk0: xxx") == true)
    }
}
