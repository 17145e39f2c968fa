/// A client of a machine's QMP socket: sends commands, and takes answers and events.
///
/// A machine takes several clients at once, and tells each of them of its events. Use one on one thread at a time.
public final class QMP {
    /// What a machine tells on its own accord.
    public struct Event: Equatable, Sendable {
        /// `SHUTDOWN`, `DEVICE_DELETED`, …
        public let name: String
        public let data: JSON
        /// When, in microseconds since 1970.
        public let time: Int64
    }

    /// The greeting, with the version that the machine gives itself.
    public private(set) var greeting = JSON.null
    private let connection: Connection
    private var events: [Event] = []
    private var lastCommand: Int64 = 0

    /// Events that wait here at most; when more come, the oldest is lost.
    private static let mostEvents = 1024
    /// The longest answer taken, in bytes.
    private static let longestLine = 16 << 20

    private init(_ connection: Connection) {
        self.connection = connection
    }

    /// Connects to the socket at `path`, waiting for one to appear, reads the greeting, and negotiates.
    ///
    /// - Parameters:
    ///   - process: who is to listen there, so that its end ends the waiting.
    ///   - timeout: for all of this; zero tries once.
    /// - Throws: `ended` if the process has; otherwise what was in the way at last.
    public static func connect(
        to path: String, of process: Apus? = nil, timeout: Duration = .seconds(10)
    ) throws(ClientError) -> QMP {
        let deadline = Deadline(timeout)
        return try retry(until: deadline, watching: process) { () throws(ClientError) -> QMP in
            let task = "QMP at \(path)"
            let socket = try System.connect(unix: path, task, deadline: deadline)
            let client = QMP(Connection(socket, task))
            repeat {
                client.greeting = try client.message(deadline)
                client.keep(client.greeting)
            } while client.greeting["event"] != nil
            guard client.greeting["QMP"]?["version"] != nil else {
                throw .malformed("\(task): this is no QMP greeting: \(client.greeting)")
            }
            _ = try client.run("qmp_capabilities", nil, nil, deadline)
            return client
        }
    }

    /// The connection's socket, to be polled for events beside other descriptors.
    public var number: Int32 { connection.number }

    /// Runs a command and answers with what it returns. Events that come meanwhile wait for `nextEvent`.
    ///
    /// - Parameters:
    ///   - descriptor: goes with the command (SCM_RIGHTS), as `getfd` wants it; it stays open here.
    /// - Throws: `refused` with the machine's error; `timedOut`, after which the answer, when it comes, is dropped;
    ///   `closed` when the machine is gone.
    @discardableResult
    public func execute(
        _ command: String, _ arguments: JSON? = nil, descriptor: Int32? = nil, timeout: Duration = .seconds(30)
    ) throws(ClientError) -> JSON {
        try run(command, arguments, descriptor, Deadline(timeout))
    }

    private func run(
        _ command: String, _ arguments: JSON?, _ descriptor: Int32?, _ deadline: Deadline
    ) throws(ClientError) -> JSON {
        lastCommand &+= 1
        var request: [String: JSON] = ["execute": .string(command), "id": .integer(lastCommand)]
        request["arguments"] = arguments
        do throws(ClientError) {
            try connection.send(Array("\(JSON.object(request))\n".utf8), with: descriptor, deadline)
        } catch {
            // What it had to say before it hung up is still to be had.
            guard error.mayPass else { throw error }
            while true { keep(try message(deadline)) }
        }
        while true {
            let message = try message(deadline)
            // An answer to an earlier command, which nobody waits for any more.
            if let id = message["id"], id != .integer(lastCommand) { continue }
            if let value = message["return"] { return value }
            if let error = message["error"] {
                throw .refused(kind: error["class"]?.stringValue ?? "", text: error["desc"]?.stringValue ?? "")
            }
            keep(message)
        }
    }

    /// The next event, the oldest first; nil if none comes within the time.
    ///
    /// - Throws: `closed` when the machine is gone and there are no more.
    public func nextEvent(timeout: Duration? = nil) throws(ClientError) -> Event? {
        let deadline = Deadline(timeout)
        while events.isEmpty {
            do throws(ClientError) {
                keep(try message(deadline))
            } catch .timedOut {
                return nil
            } catch {
                throw error
            }
        }
        return events.removeFirst()
    }

    /// Waits for an event of that name whose data is as wanted, and takes it out of those that wait; the others stay.
    ///
    /// - Throws: `timedOut`, or `closed` when the machine is gone without it.
    @discardableResult
    public func wait(
        for name: String, timeout: Duration = .seconds(30), where isWanted: (JSON) -> Bool = { _ in true }
    ) throws(ClientError) -> Event {
        let deadline = Deadline(timeout)
        while true {
            if let index = events.firstIndex(where: { $0.name == name && isWanted($0.data) }) {
                return events.remove(at: index)
            }
            keep(try message(deadline))
        }
    }

    private func keep(_ message: JSON) {
        guard let name = message["event"]?.stringValue else { return }
        let time = message["timestamp"]
        let seconds = time?["seconds"]?.intValue ?? 0
        let event = Event(
            name: name, data: message["data"] ?? [:],
            time: seconds &* 1_000_000 &+ (time?["microseconds"]?.intValue ?? 0))
        if events.count >= Self.mostEvents { events.removeFirst() }
        events.append(event)
    }

    private func message(_ deadline: Deadline) throws(ClientError) -> JSON {
        guard let line = try connection.line(atMost: Self.longestLine, deadline) else { throw .closed("QMP") }
        return try JSON(parsing: line)
    }
}
