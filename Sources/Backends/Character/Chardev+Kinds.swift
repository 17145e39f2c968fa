package import EventLoop
import Host

/// What can be at the host's end. Each is opened on its reactor's thread; a failure says what was in the way.
extension Chardev {
    /// Standard input and output; a terminal is in raw mode until `close`. There is at most one.
    package static func stdio(id: String, on reactor: Reactor) throws(ChardevError) -> Chardev {
        try stdio(id: id, on: reactor, input: 0, output: 1)
    }

    static func stdio(
        id: String, on reactor: Reactor, input: Int32, output: Int32
    ) throws(ChardevError) -> Chardev {
        let output = try attempt(id, "use standard output") { () throws(Errno) in try FileDescriptor.standard(output) }
        let chardev = try Chardev(reactor, id: id, filename: "stdio", .stream)
        chardev.write(output, .write)
        chardev.restore(RawTerminal(input))
        // A process without a standard input has nothing to say, which is no error.
        if let input = try? FileDescriptor.standard(input) { chardev.read(input, .read) }
        return chardev
    }

    /// A new pseudo-terminal, whose path is in `filename` and in the log.
    package static func pty(id: String, on reactor: Reactor) throws(ChardevError) -> Chardev {
        let terminal = try attempt(id, "make a pseudo-terminal") { () throws(Errno) in
            let terminal = try PseudoTerminal()
            // Nobody else has this end, so that it can be one that no worker of the kernel has to wait for.
            try terminal.master.setNonBlocking(true)
            return terminal
        }
        let input = try duplicate(terminal.master, id, terminal.path)
        let output = try duplicate(terminal.master, id, terminal.path)
        let chardev = try Chardev(reactor, id: id, filename: "pty:\(terminal.path)", .stream)
        Log.info(id, "its terminal is \(terminal.path)")
        chardev.keep(terminal)
        chardev.read(input, .read)
        chardev.write(output, .write)
        return chardev
    }

    /// A Unix socket that one client at a time connects to. Its file is removed by `close`.
    ///
    /// - Parameter replaying: whether a client is first shown the last 64 KiB that the guest wrote.
    package static func server(
        id: String, unix path: String, replaying: Bool = true, on reactor: Reactor
    ) throws(ChardevError) -> Chardev {
        let socket = try listen(id, path) { () throws(ListeningError) in try ListeningSocket.unix(path) }
        let name = "unix:\(path),server=on"
        let chardev = try Chardev(reactor, id: id, filename: name, .server(replaying: replaying))
        chardev.listen(socket)
        return chardev
    }

    /// An IPv4 address (dotted decimal) and port that one client at a time connects to.
    ///
    /// - Parameter replaying: whether a client is first shown the last 64 KiB that the guest wrote.
    package static func server(
        id: String, ipv4 host: String, port: UInt16, replaying: Bool = true, on reactor: Reactor
    ) throws(ChardevError) -> Chardev {
        let socket = try listen(id, "\(host):\(port)") { () throws(ListeningError) in
            try ListeningSocket.tcp(host, port)
        }
        let name = "tcp:\(host):\(port),server=on"
        let chardev = try Chardev(reactor, id: id, filename: name, .server(replaying: replaying))
        chardev.listen(socket)
        return chardev
    }

    private static func listen(
        _ id: String, _ address: String, _ body: () throws(ListeningError) -> ListeningSocket
    ) throws(ChardevError) -> ListeningSocket {
        do throws(ListeningError) {
            return try body()
        } catch {
            throw ChardevError(id: id, problem: "cannot listen at '\(address)': \(error)")
        }
    }

    /// A connection to a Unix socket.
    package static func client(id: String, unix path: String, on reactor: Reactor) throws(ChardevError) -> Chardev {
        let socket = try attempt(id, "connect to '\(path)'") { () throws(Errno) in try Socket.connect(unix: path) }
        return try connection(id, "unix:\(path)", socket, reactor)
    }

    /// A connection to an IPv4 address (dotted decimal) and port.
    package static func client(
        id: String, ipv4 host: String, port: UInt16, on reactor: Reactor
    ) throws(ChardevError) -> Chardev {
        let socket = try attempt(id, "connect to \(host):\(port)") { () throws(Errno) in
            try Socket.connect(ipv4: host, port: port)
        }
        Socket.setNoDelay(socket)
        return try connection(id, "tcp:\(host):\(port)", socket, reactor)
    }

    private static func connection(
        _ id: String, _ name: String, _ socket: consuming FileDescriptor, _ reactor: Reactor
    ) throws(ChardevError) -> Chardev {
        let output = try duplicate(socket, id, name)
        let chardev = try Chardev(reactor, id: id, filename: name, .connection)
        chardev.write(output, .send)
        chardev.read(socket, .receive)
        return chardev
    }

    /// A file that output is written over, from its beginning; it is created if it is not there, and never cut.
    package static func file(id: String, path: String, on reactor: Reactor) throws(ChardevError) -> Chardev {
        let output = try attempt(id, "write to '\(path)'") { () throws(Errno) in
            try FileDescriptor.open(path, [.readWrite, .create, .noControllingTerminal])
        }
        let status = try? FileStatus(of: output)
        let chardev = try Chardev(reactor, id: id, filename: "file:\(path)", .stream)
        chardev.write(output, status?.kind == .regular ? .writeAt : .write)
        return chardev
    }

    /// The log, line by line.
    ///
    /// - Parameter write: takes each line, in place of the process's log.
    package static func log(
        id: String, on reactor: Reactor, write: ((String) -> Void)? = nil
    ) throws(ChardevError) -> Chardev {
        let chardev = try Chardev(reactor, id: id, filename: "log", .stream)
        chardev.log(to: LogLines(write: write ?? { line in Log.write(.info, id) { line } }))
        return chardev
    }

    private static func duplicate(
        _ file: borrowing FileDescriptor, _ id: String, _ name: String
    ) throws(ChardevError) -> FileDescriptor {
        do {
            return try file.duplicate()
        } catch {
            throw ChardevError(id: id, problem: "cannot use \(name): \(error)")
        }
    }

    private static func attempt<Result: ~Copyable>(
        _ id: String, _ what: String, _ body: () throws(Errno) -> Result
    ) throws(ChardevError) -> Result {
        do {
            return try body()
        } catch {
            throw ChardevError(id: id, problem: "cannot \(what): \(error)")
        }
    }
}
