import CompletionFaults
import EventLoop
import Glibc
import Host
import TestSupport
import Testing

@testable import Backends

/// Every operation of a chardev ends badly once, in every way there is: what does not get through then is lost for a
/// reason that the log tells, the other direction goes on, and nothing is left behind.
///
/// A socket's server is tried as a console's, with the device. The log needs no operations.
@Suite struct CharacterFaultTests {
    @Test func pseudoTerminal() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let log = try captureLog()
            CompletionFaults.expectSurvival("pty", atLeast: 7, logging: .warn) { try useTerminal($0, log) }
        }
        CompletionFaults.show(result)
    }

    @Test func standardStreams() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let log = try captureLog()
            CompletionFaults.expectSurvival("stdio", atLeast: 5, logging: .warn) { try useStreams($0, log) }
        }
        CompletionFaults.show(result)
    }

    @Test func socketClient() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let log = try captureLog()
            CompletionFaults.expectSurvival("socket client", atLeast: 4, logging: .warn) { try useClient($0, log) }
        }
        CompletionFaults.show(result)
    }

    @Test func file() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let log = try captureLog()
            CompletionFaults.expectSurvival("file", atLeast: 5, logging: .warn) { try useFile($0, log) }
        }
        CompletionFaults.show(result)
    }
}

private typealias BadEnd = CompletionFaults.End

/// What this process logs from now on.
private func captureLog() throws -> Peer {
    let ends = makePipe()
    Log.setOutput(FileDescriptor(owning: ends.writing))
    return try Peer(FileDescriptor(owning: ends.reading))
}

extension Peer {
    /// What has come since `count` bytes had.
    fileprivate func text(after count: Int) -> String { String(decoding: read().dropFirst(count), as: UTF8.self) }
}

/// Has something typed, and something shown.
///
/// - Parameters:
///   - typing: whose bytes are the guest's input.
///   - screen: where the guest's output arrives.
private func talk(
    _ end: BadEnd?, _ chardev: Chardev, _ reactor: Reactor, _ log: Peer, typing: Peer, screen: Peer,
    output: [UInt8] = pattern(1000)
) {
    let frontend = FakeFrontend()
    let before = log.read().count
    chardev.attach(frontend)
    chardev.send(output)
    // A terminal may be full, and takes more only when somebody looks at it.
    for _ in 0..<20 { reactor.turn(waiting: false) }
    typing.write("in")
    /// An end of the input is no failure of it.
    func hasInput() -> Bool {
        frontend.received == Array("in".utf8) || end?.result == 0
            || log.text(after: before).contains("cannot read input any more")
    }
    let isOver = run(reactor) {
        let isLost = chardev.isSocket && !chardev.isOpen
        return (hasInput() || isLost) && (screen.read() == output || !chardev.isOpen)
    }
    #expect(isOver, "\(end?.description ?? ""): \(frontend.received.count) in, \(screen.received.count) out")
    if end == nil { #expect(chardev.isOpen && frontend.received.count == 2) }
    if !chardev.isOpen { #expect(!log.text(after: before).isEmpty, "\(end?.description ?? "")") }
    chardev.close()
}

private func useTerminal(_ end: BadEnd?, _ log: Peer) throws {
    let reactor = try Reactor(name: "test")
    let chardev = try Chardev.pty(id: "con0", on: reactor)
    let user = try Peer(
        FileDescriptor.open(String(chardev.filename.dropFirst(4)), [.readWrite, .noControllingTerminal]))
    talk(end, chardev, reactor, log, typing: user, screen: user, output: pattern(30_000))
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}

private func useStreams(_ end: BadEnd?, _ log: Peer) throws {
    let reactor = try Reactor(name: "test")
    let (input, output) = (makePipe(), makePipe())
    defer { for descriptor in [input.reading, output.writing] { close(descriptor) } }
    let chardev = try Chardev.stdio(id: "serial", on: reactor, input: input.reading, output: output.writing)
    talk(
        end, chardev, reactor, log, typing: try Peer(FileDescriptor(owning: input.writing)),
        screen: try Peer(FileDescriptor(owning: output.reading)))
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}

private func useClient(_ end: BadEnd?, _ log: Peer) throws {
    let reactor = try Reactor(name: "test")
    let path = temporaryPath("faults")
    defer { try? removeFile(path) }
    let listener = try Socket.listen(unix: path)
    let chardev = try Chardev.client(id: "con0", unix: path, on: reactor)
    let server = try Peer(FileDescriptor(owning: checked { accept(listener.rawValue, nil, nil) }))
    talk(end, chardev, reactor, log, typing: server, screen: server)
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}

/// A file may be full once, and take more later; what there is time for is written before the end.
private func useFile(_ end: BadEnd?, _ log: Peer) throws {
    let reactor = try Reactor(name: "test")
    let path = temporaryPath("faults")
    defer { try? removeFile(path) }
    let chardev = try Chardev.file(id: "log0", path: path, on: reactor)
    let file = try FileDescriptor.open(path, .readOnly)
    var expected = ""
    for text in ["first ", "second "] {
        let before = log.read().count
        chardev.send(text)
        chardev.drain(for: 10_000_000_000)
        if !log.text(after: before).contains("bytes are lost") { expected += text }
        let written = String(decoding: try file.read(count: 100, at: 0), as: UTF8.self)
        #expect(written == expected, "\(end?.description ?? "")")
    }
    chardev.close()
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}
