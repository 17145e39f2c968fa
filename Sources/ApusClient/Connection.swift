import Glibc

/// A stream to the other side: a byte pipe both ways, whose calls block no longer than they are told.
///
/// Use it on one thread at a time. It closes when its last reference goes.
public final class Connection {
    private let descriptor: Descriptor
    private let task: String
    /// What has arrived beyond what was asked for.
    private var arrived: [UInt8] = []

    init(_ descriptor: consuming Descriptor, _ task: String) {
        self.descriptor = descriptor
        self.task = task
    }

    /// The socket's number, to be polled beside others; the connection goes on owning it.
    public var number: Int32 { descriptor.number }

    /// Writes all of `bytes`.
    ///
    /// - Throws: `timedOut`, when some of them may have been written; `system` with `EPIPE` when nobody reads.
    public func write(_ bytes: [UInt8], timeout: Duration? = nil) throws(ClientError) {
        try send(bytes, with: nil, Deadline(timeout))
    }

    func send(_ bytes: [UInt8], with passed: Int32?, _ deadline: Deadline) throws(ClientError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let first = rest.count == bytes.count
            if let sent = try System.send(number, rest, with: first ? passed : nil, task) {
                rest = rest.dropFirst(sent)
            } else {
                try wait(for: POLLOUT, deadline)
            }
        }
    }

    /// Reads what has arrived, waiting for the first byte; at most `count` bytes, and none at the end of the stream.
    public func read(atMost count: Int = 65536, timeout: Duration? = nil) throws(ClientError) -> [UInt8] {
        guard arrived.isEmpty else {
            let taken = Array(arrived.prefix(max(1, count)))
            arrived.removeFirst(taken.count)
            return taken
        }
        return try receive(atMost: count, Deadline(timeout))
    }

    private func receive(atMost count: Int, _ deadline: Deadline) throws(ClientError) -> [UInt8] {
        while true {
            if let bytes = try System.read(number, atMost: count, task) { return bytes }
            try wait(for: POLLIN, deadline)
        }
    }

    private func wait(for events: Int32, _ deadline: Deadline) throws(ClientError) {
        while try !System.poll(number, events, milliseconds: deadline.milliseconds, task) {
            if deadline.hasPassed { throw .timedOut(task) }
        }
    }

    /// The next line, without its end; nil at the end of the stream.
    ///
    /// - Throws: `malformed` when it is longer than `limit`, `timedOut`; what has arrived by then is kept.
    func line(atMost limit: Int, _ deadline: Deadline) throws(ClientError) -> ArraySlice<UInt8>? {
        var searched = 0
        while true {
            if let end = arrived[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = arrived[..<end]
                arrived.removeFirst(end + 1)
                return line
            }
            searched = arrived.count
            guard searched <= limit else { throw .malformed("\(task): a line of more than \(limit) bytes") }
            let bytes = try receive(atMost: 65536, deadline)
            if bytes.isEmpty { return nil }
            arrived += bytes
        }
    }

    /// Tells the other side that nothing more will be written.
    public func finishWriting() {
        shutdown(number, Int32(SHUT_WR))
    }
}

/// Tries until it comes about, as long as it is only that the other side does not listen yet.
///
/// - Throws: what was in the way at the last attempt; `ended` as soon as the process has.
func retry<T>(
    until deadline: Deadline, watching process: Apus?, _ attempt: () throws(ClientError) -> T
) throws(ClientError) -> T {
    while true {
        do throws(ClientError) {
            return try attempt()
        } catch {
            guard error.mayPass, !deadline.hasPassed else { throw error }
        }
        let moment = deadline.milliseconds(atMost: 5)
        guard let process else {
            System.pause(milliseconds: moment)
            continue
        }
        if let ending = try process.wait(milliseconds: moment) { throw .ended(ending) }
    }
}
