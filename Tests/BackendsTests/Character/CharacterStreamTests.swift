import CHost
import EventLoop
import Glibc
import Host
import TestSupport
import Testing

@testable import Backends

@Suite struct CharacterStreamTests {
    private let reactor: Reactor
    private let frontend = FakeFrontend()

    init() throws {
        reactor = try Reactor(name: "test")
    }

    // MARK: Standard input and output

    @Test func pipesServeAsStandardInputAndOutput() throws {
        let input = makePipe()
        let output = makePipe()
        let chardev = try Chardev.stdio(id: "serial", on: reactor, input: input.reading, output: output.writing)
        defer { chardev.close() }
        let typing = try Peer(FileDescriptor(owning: input.writing))
        let screen = try Peer(FileDescriptor(owning: output.reading))
        // What is typed before there is a device waits for it.
        typing.write("ls\n")
        for _ in 0..<50 { reactor.turn(waiting: false) }
        chardev.attach(frontend)
        #expect(run(reactor) { frontend.received == Array("ls\n".utf8) })
        // The end of the input is no error, and no reason to stop showing output.
        typing.close()
        for _ in 0..<50 { reactor.turn(waiting: false) }
        chardev.send("bin etc")
        #expect(run(reactor) { screen.text == "bin etc" })
        #expect(frontend.opened == [true])
        close(input.reading)
        close(output.writing)
    }

    @Test func aBrokenOutputLeavesTheInputAlone() throws {
        let input = makePipe()
        let output = makePipe()
        let chardev = try Chardev.stdio(id: "serial", on: reactor, input: input.reading, output: output.writing)
        defer { chardev.close() }
        chardev.attach(frontend)
        close(output.reading)
        chardev.send("to nobody")
        #expect(run(reactor) { !chardev.isOpen })
        chardev.send("to nobody")
        let typing = try Peer(FileDescriptor(owning: input.writing))
        typing.write("reboot\n")
        #expect(run(reactor) { frontend.received == Array("reboot\n".utf8) })
        close(input.reading)
        close(output.writing)
    }

    @Test func aFullPipeHoldsNobodyUp() throws {
        let input = makePipe()
        let output = makePipe()
        let chardev = try Chardev.stdio(id: "serial", on: reactor, input: input.reading, output: output.writing)
        defer { chardev.close() }
        chardev.attach(frontend)
        let text = pattern(1 << 20)
        for start in stride(from: 0, to: text.count, by: 4096) {
            chardev.send(Array(text[start..<start + 4096]))
            reactor.turn(waiting: false)
        }
        let before = Clock.monotonic
        chardev.drain(for: 20_000_000)
        #expect(Clock.monotonic - before < 5_000_000_000)
        #expect(chardev.room < OutputHistory.capacity)
        let screen = try Peer(FileDescriptor(owning: output.reading))
        #expect(run(reactor) { screen.read().suffix(4096) == text.suffix(4096) })
        for descriptor in [input.reading, input.writing, output.writing] { close(descriptor) }
    }

    @Test func whatIsLeftLeavesBeforeTheEnd() throws {
        let output = makePipe()
        let chardev = try Chardev.stdio(id: "serial", on: reactor, input: -1, output: output.writing)
        chardev.send(pattern(30_000))
        chardev.drain(for: 10_000_000_000)
        chardev.close()
        let screen = try Peer(FileDescriptor(owning: output.reading))
        let isSame = screen.read() == pattern(30_000)
        #expect(isSame)
        close(output.writing)
    }

    @Test func aMissingStandardOutputIsAnError() {
        #expect(throws: ChardevError(id: "serial", problem: "cannot use standard output: Bad file descriptor")) {
            try Chardev.stdio(id: "serial", on: reactor, input: -1, output: -1)
        }
    }

    @Test func aTerminalIsRawUntilTheEnd() throws {
        let terminal = try PseudoTerminal()
        let user = try FileDescriptor.open(terminal.path, [.readWrite, .noControllingTerminal])
        var cooked = termios()
        unsafe tcgetattr(user.rawValue, &cooked)
        cooked.c_lflag |= tcflag_t(ICANON | ECHO | ISIG)
        unsafe tcsetattr(user.rawValue, TCSANOW, &cooked)
        func localFlags() -> tcflag_t {
            var now = termios()
            unsafe tcgetattr(user.rawValue, &now)
            return now.c_lflag & tcflag_t(ICANON | ECHO | ISIG)
        }
        let before = localFlags()
        #expect(before != 0)

        let chardev = try Chardev.stdio(id: "serial", on: reactor, input: user.rawValue, output: user.rawValue)
        chardev.attach(frontend)
        #expect(localFlags() == 0)
        // Ctrl-C is the guest's.
        try terminal.master.write([3])
        #expect(run(reactor) { frontend.received == [3] })
        chardev.send("# ")
        let screen = try Peer(terminal.master.duplicate())
        #expect(run(reactor) { screen.text == "# " })
        chardev.close()
        #expect(localFlags() == before)
        for _ in 0..<50 { reactor.turn(waiting: false) }
    }

    // MARK: Pseudo-terminals

    @Test func aPseudoTerminalTalksWithTheGuest() throws {
        let chardev = try Chardev.pty(id: "con0", on: reactor)
        defer { chardev.close() }
        chardev.attach(frontend)
        #expect(chardev.filename.hasPrefix("pty:/dev/pts/"))
        let path = String(chardev.filename.dropFirst(4))
        chardev.send("login: ")
        for _ in 0..<2 {
            // Users may come, go and come again.
            let user = try Peer(FileDescriptor.open(path, [.readWrite, .noControllingTerminal]))
            user.write("root\r")
            #expect(run(reactor) { frontend.received == Array("root\r".utf8) })
            #expect(run(reactor) { user.text == "login: " })
            frontend.received = []
            chardev.send("login: ")
        }
    }

    @Test func aPseudoTerminalWithoutAUserHoldsNobodyUp() throws {
        let chardev = try Chardev.pty(id: "con0", on: reactor)
        defer { chardev.close() }
        chardev.attach(frontend)
        let text = pattern(1 << 20)
        for start in stride(from: 0, to: text.count, by: 4096) {
            chardev.send(Array(text[start..<start + 4096]))
            reactor.turn(waiting: false)
        }
        let path = String(chardev.filename.dropFirst(4))
        let user = try Peer(FileDescriptor.open(path, [.readWrite, .noControllingTerminal]))
        #expect(run(reactor) { user.read().suffix(4096) == text.suffix(4096) })
        #expect(user.received.count < 4 * OutputHistory.capacity)
    }

    // MARK: Files and the log

    @Test func aFileIsWrittenOverFromItsBeginning() throws {
        let path = temporaryPath("file")
        defer { try? removeFile(path) }
        let file = try FileDescriptor.open(path, [.readWrite, .create])
        try file.write(Array("0123456789".utf8))
        let chardev = try Chardev.file(id: "log0", path: path, on: reactor)
        chardev.attach(frontend)
        chardev.send("abc")
        chardev.drain(for: 10_000_000_000)
        chardev.send("de")
        chardev.drain(for: 10_000_000_000)
        chardev.close()
        #expect(try file.read(count: 100, at: 0) == Array("abcde56789".utf8))
        #expect(frontend.opened == [true, false])
    }

    /// A guest's output may hold secrets.
    @Test func aNewFileIsForThisUserOnly() throws {
        let path = temporaryPath("file")
        defer { try? removeFile(path) }
        try Chardev.file(id: "log0", path: path, on: reactor).close()
        var status = stat()
        #expect(unsafe stat(path, &status) == 0)
        #expect(status.st_mode & 0o077 == 0)
    }

    @Test func aFileTakesMoreThanTheHistoryHolds() throws {
        let path = temporaryPath("file")
        defer { try? removeFile(path) }
        let chardev = try Chardev.file(id: "log0", path: path, on: reactor)
        let text = pattern(500_000)
        for start in stride(from: 0, to: text.count, by: 50_000) {
            chardev.send(Array(text[start..<start + 50_000]))
            chardev.drain(for: 10_000_000_000)
        }
        chardev.close()
        let file = try FileDescriptor.open(path, .readOnly)
        let isSame = try file.read(count: 600_000, at: 0) == text
        #expect(isSame)
    }

    @Test(arguments: ["/dev/full", "/nowhere/file"]) func aFileThatCannotBeWrittenHurtsNobody(path: String) throws {
        if path == "/dev/full" {
            let chardev = try Chardev.file(id: "log0", path: path, on: reactor)
            chardev.send("text")
            #expect(run(reactor) { !chardev.isOpen })
            chardev.close()
        } else {
            #expect(
                throws: ChardevError(id: "log0", problem: "cannot write to '\(path)': No such file or directory")
            ) {
                try Chardev.file(id: "log0", path: path, on: reactor)
            }
        }
    }

    @Test func theLogTakesLines() throws {
        var lines: [String] = []
        let chardev = try Chardev.log(id: "log-console", on: reactor) { lines.append($0) }
        chardev.attach(frontend)
        #expect(frontend.opened == [true])
        chardev.send("[0.1] fir")
        chardev.send("st\r\n\nsecond\n" + String(repeating: "x", count: 3000) + "\n\u{1b}[1munfinished")
        chardev.close()
        #expect(
            lines == [
                "[0.1] first", "second", String(repeating: "x", count: 1024), String(repeating: "x", count: 1024),
                String(repeating: "x", count: 952), "\u{1b}[1munfinished",
            ])
    }
}

@Suite struct OutputHistoryTests {
    @Test(arguments: [1, 1000, 4096, 65_535, 65_536, 65_537, 200_000]) func keepsTheNewest(piece: Int) throws {
        let history = try OutputHistory()
        let text = pattern(400_000)
        let buffer = IOBuffer(capacity: text.count)
        buffer.all.copy(from: text)
        let copy = IOBuffer(capacity: 100_000)
        var written = 0
        while written + piece <= text.count {
            history.append(buffer.all.dropFirst(written).prefix(piece))
            written += piece
            if piece < 4096, written % 10_000 != 0 { continue }
            #expect(history.end == UInt64(written))
            let kept = min(written, OutputHistory.capacity)
            #expect(history.start == UInt64(written - kept))
            #expect(history.copy(from: 0, into: copy.all) == kept)
            let isSame = copy.bytes(0..<kept) == Array(text[(written - kept)..<written])
            #expect(isSame)
        }
        #expect(history.copy(from: history.end, into: copy.all) == 0)
        #expect(history.copy(from: .max, into: copy.all) == 0)
        #expect(history.copy(from: history.end - 10, into: copy.all.prefix(3)) == 3)
    }
}
