import EventLoop
package import Host

/// A character backend: the host's end of a serial port or console.
///
/// It belongs to one reactor. Output is never refused and never waited for: the last 64 KiB are kept for a reader that
/// is slow, gone or not yet there. Input is read only as fast as the front end takes it.
package final class Chardev {
    /// The id by which a device's `chardev=` and QMP know it.
    package let id: String
    /// What the host's end is, for `query-chardev`: `pty:/dev/pts/3`, `unix:/run/console.sock,server=on`, …
    package let filename: String

    private let reactor: Reactor
    private let kind: Kind
    private let history: OutputHistory
    private weak var frontend: (any ChardevFrontend)?
    private var reader: CharacterReader?
    private var writer: CharacterWriter?
    private var acceptor: Acceptor?
    private var lines: LogLines?
    private var terminal: RawTerminal?
    private var pseudoTerminal: PseudoTerminal?

    /// What the ends of the host's end mean.
    enum Kind: Equatable {
        /// Its input may end, and its output may break; the other goes on.
        case stream
        /// A client comes and goes; with `replaying`, it is shown what was written before it came.
        case server(replaying: Bool)
        /// One connection, and none after it.
        case connection
    }

    init(_ reactor: Reactor, id: String, filename: String, _ kind: Kind) throws(ChardevError) {
        self.id = id
        self.filename = filename
        self.reactor = reactor
        self.kind = kind
        do {
            history = try OutputHistory()
        } catch {
            throw ChardevError(id: id, problem: "no memory for its output: \(error)")
        }
    }

    deinit {
        // `close` also tells the front end, which is nobody's any more.
        if let reader { reactor.retire(reader) }
        if let writer { reactor.retire(writer) }
        acceptor?.close()
    }

    // MARK: The front end's side

    /// Connects the guest's side, of which there is one; what has been read for it so far is offered to it.
    package func attach(_ frontend: any ChardevFrontend) {
        self.frontend = frontend
        frontend.hostEndChanged(isOpen: isOpen)
        reader?.resume()
    }

    /// Whether somebody is, or may be, at the host's end.
    package var isOpen: Bool { writer != nil || lines != nil }

    /// Whether the guest's side is connected and in use.
    package var isFrontendOpen: Bool { frontend?.isOpen ?? false }

    /// Takes output from the guest; it leaves at the end of this turn, or when its reader is ready.
    package func send(_ bytes: HostSlice) {
        if lines != nil {
            lines?.append(bytes)
        } else {
            history.append(bytes)
            writer?.wake()
        }
    }

    /// How many bytes `send` takes now without anything being lost.
    package var room: Int { OutputHistory.capacity - (writer?.waiting ?? 0) }

    /// The front end takes input again.
    package func resumeReceiving() {
        reader?.resume()
    }

    /// Whether the host's end is a socket.
    package var isSocket: Bool { kind != .stream }

    /// Breaks the connection of a socket, as if its client had; the next one may come.
    package func disconnect() {
        if isSocket, isOpen { loseConnection() }
    }

    // MARK: The end

    /// Runs the reactor until the output has left, or for at most `nanoseconds`: for the end of the process, after
    /// `Reactor.run` has returned.
    package func drain(for nanoseconds: UInt64) {
        guard let writer, writer.unsent > 0 else { return }
        var isLate = false
        let limit = Alarm(reactor, at: Clock.monotonic &+ nanoseconds) { isLate = true }
        while writer.unsent > 0, writer === self.writer, !isLate, reactor.failure == nil { reactor.turn(waiting: true) }
        reactor.retire(limit)
    }

    /// Ends it: nothing is read or written any more, the terminal is as it was found, the socket's file is gone.
    package func close() {
        lines?.flush()
        lines = nil
        acceptor?.close()
        acceptor = nil
        endStreams()
        terminal = nil
        pseudoTerminal = nil
    }

    private func endStreams() {
        let wasOpen = isOpen
        if let reader { reactor.retire(reader) }
        if let writer { reactor.retire(writer) }
        reader = nil
        writer = nil
        if wasOpen { frontend?.hostEndChanged(isOpen: false) }
    }

    // MARK: Opening

    func log(to lines: LogLines) {
        self.lines = lines
    }

    func restore(_ terminal: RawTerminal?) {
        self.terminal = terminal
    }

    func keep(_ pseudoTerminal: consuming PseudoTerminal) {
        self.pseudoTerminal = consume pseudoTerminal
    }

    func listen(_ socket: consuming ListeningSocket) {
        let acceptor = Acceptor(reactor, socket, name: id) { [weak self] client in self?.welcome(client) }
        self.acceptor = acceptor
        acceptor.accept()
    }

    func read(_ file: consuming FileDescriptor, _ method: CharacterReader.Method) {
        let reader = CharacterReader(reactor, file, method, owner: self)
        self.reader = reader
        reader.resume()
    }

    func write(_ file: consuming FileDescriptor, _ method: CharacterWriter.Method, from position: UInt64 = 0) {
        let writer = CharacterWriter(reactor, file, method, history, from: position, owner: self)
        self.writer = writer
        writer.wake()
    }

    /// A client has connected; one that has stopped sending, and is still there, gives way.
    private func welcome(_ socket: consuming FileDescriptor) {
        endStreams()
        Socket.setNoDelay(socket)
        do {
            let output = try socket.duplicate()
            write(output, .send, from: kind == .server(replaying: true) ? history.start : history.end)
        } catch {
            Log.warn(id, "cannot serve a client: \(error)")
            acceptor?.accept()
            return
        }
        Log.debug(id, "a client has connected")
        frontend?.hostEndChanged(isOpen: true)
        read(socket, .receive)
    }

    // MARK: What the streams tell

    /// Offers input to the front end; answers how much it took.
    func deliver(_ bytes: HostSlice) -> Int {
        max(0, min(frontend?.receive(bytes) ?? 0, bytes.count))
    }

    func outputLeft() {
        frontend?.outputLeft()
    }

    /// The other end sends no more, and with `isGone` takes no more either.
    func readerEnded(_ reader: CharacterReader, isGone: Bool) {
        guard reader === self.reader else { return }
        switch kind {
        case .stream: Log.debug(id, "its input has ended")
        case .server, .connection:
            if isGone { loseConnection() } else { acceptor?.accept() }
        }
    }

    func readerFailed(_ reader: CharacterReader, _ error: Errno) {
        guard reader === self.reader else { return }
        switch kind {
        case .stream: Log.warn(id, "cannot read input any more: \(error)")
        case .server, .connection: loseConnection()
        }
    }

    func writerFailed(_ writer: CharacterWriter, _ error: Errno) {
        guard writer === self.writer else { return }
        switch kind {
        case .stream:
            reactor.retire(writer)
            self.writer = nil
            Log.warn(id, "cannot write output any more: \(error)")
            if reader == nil { frontend?.hostEndChanged(isOpen: false) } else { frontend?.outputLeft() }
        case .server, .connection: loseConnection()
        }
    }

    private func loseConnection() {
        endStreams()
        if kind == .connection { Log.warn(id, "the connection has ended") }
        acceptor?.accept()
    }
}
