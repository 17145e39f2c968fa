import ApusClient
import Glibc
import Host
import Testing

/// What the library makes of other sides that are slow, silent, or say what they must not.
@Suite struct PeerTests {
    /// A listener that says this to each of its clients, one line after each line they send, and then hangs up.
    final class Peer {
        let folder: Folder
        var path: String { folder.path("qmp") }
        private let thread: Thread

        private final class Thread {
            let listener: FileDescriptor
            var thread: HostThread?

            init(_ listener: consuming FileDescriptor, _ thread: consuming HostThread) {
                self.listener = listener
                self.thread = consume thread
            }

            deinit {
                // Ends its waiting for those who never came.
                Socket.shutDown(listener, reading: true, writing: true)
                thread.take()?.join()
            }
        }

        /// - Parameter clients: how many to serve.
        init(_ first: String, _ answers: [String] = [], clients: Int = 1) throws {
            let folder = try Folder()
            self.folder = folder
            let listener = try Socket.listen(unix: folder.path("qmp"))
            let number = try listener.duplicate().release()
            thread = Thread(
                listener,
                try HostThread(name: "peer") {
                    let listener = FileDescriptor(owning: number)
                    for _ in 0..<clients {
                        let client = FileDescriptor(owning: accept(listener.rawValue, nil, nil))
                        try? client.write(Array(first.utf8))
                        for answer in answers {
                            guard let line = try? client.read(count: 65536), !line.isEmpty else { break }
                            try? client.write(Array(answer.utf8))
                        }
                    }
                })
        }
    }

    static let greeting = #"{"QMP":{"version":{},"capabilities":[]}}"# + "\r\n"
    static let done = "{\"return\":{}}\r\n"

    @Test(arguments: ["hello\n", "{}\n", "[1]\r\n", "\n", "{\"QMP\":1}\n"])
    func whatIsNoGreeting(_ words: String) throws {
        let peer = try Peer(words)
        let error = #expect(throws: ClientError.self) { try QMP.connect(to: peer.path) }
        guard case .malformed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func onesThatHangUpAreTriedAgain() throws {
        let peer = try Peer("", clients: 3)
        #expect(throws: ClientError.self) { try QMP.connect(to: peer.path, timeout: .milliseconds(100)) }
    }

    @Test func oneThatSaysNothing() throws {
        let folder = try Folder()
        let listener = try Socket.listen(unix: folder.path("qmp"))
        #expect(throws: ClientError.timedOut("QMP at \(folder.path("qmp"))")) {
            try QMP.connect(to: folder.path("qmp"), timeout: .milliseconds(50))
        }
        _ = listener.rawValue
    }

    @Test func nobodyThere() {
        for path in ["/no/such/socket", String(repeating: "x", count: 200), ""] {
            #expect(throws: ClientError.self) { try QMP.connect(to: path, timeout: .zero) }
        }
    }

    private func event(_ name: String, _ number: Int) -> String {
        #"{"event":"\#(name)","data":{"n":\#(number)},"timestamp":{"seconds":2,"microseconds":3}}"# + "\r\n"
    }

    /// Events before answers, answers that nobody waits for any more, in pieces and at once.
    @Test func whatComesIsSortedOut() throws {
        let peer = try Peer(
            event("EARLY", 0) + Self.greeting,
            [
                Self.done, "",
                event("A", 1) + "{\"id\":2,\"return\":7}\r\n" + event("B", 2) + "{\"id\":3,\"return\":8}\r\n"
                    + event("A", 3),
                #"{"id":4,"error":{"class":"X","desc":"why"}}"# + "\n", "{]\n",
            ])
        let qmp = try QMP.connect(to: peer.path)
        #expect(throws: ClientError.timedOut("QMP at \(peer.path)")) {
            try qmp.execute("late", timeout: .milliseconds(20))
        }
        #expect(try qmp.execute("next") == 8)
        #expect(try qmp.wait(for: "A") { $0["n"] == 3 }.time == 2_000_003)
        #expect(try qmp.nextEvent(timeout: .zero)?.name == "EARLY")
        #expect(try qmp.nextEvent(timeout: .zero)?.data == ["n": 1])
        #expect(try qmp.nextEvent(timeout: .zero)?.name == "B")
        #expect(try qmp.nextEvent(timeout: .zero) == nil)
        #expect(throws: ClientError.timedOut("QMP at \(peer.path)")) { try qmp.wait(for: "A", timeout: .zero) }
        #expect(throws: ClientError.refused(kind: "X", text: "why")) { try qmp.execute("refused") }
        #expect(throws: ClientError.malformed("invalid JSON at byte 2: expected a member's name or '}'")) {
            try qmp.execute("garbled")
        }
        #expect(throws: ClientError.closed("QMP")) { try qmp.nextEvent(timeout: .seconds(60)) }
    }

    @Test func dialling() throws {
        let peer = try Peer("", ["OK 1073741824\nfirst words"])
        let connection = try Vsock.dial(socket: peer.path, port: 5)
        #expect(try connection.read(atMost: 5, timeout: .seconds(60)) == Array("first".utf8))
        #expect(try connection.read(timeout: .seconds(60)) == Array(" words".utf8))
        #expect(try connection.read(timeout: .seconds(60)) == [], "the end")
        let refusing = try Peer("", ["NO\n"])
        #expect(throws: ClientError.self) { try Vsock.dial(socket: refusing.path, port: 5) }
        #expect(throws: ClientError.self) { try Vsock.dial(cid: 987, port: 5, timeout: .zero) }
    }
}
