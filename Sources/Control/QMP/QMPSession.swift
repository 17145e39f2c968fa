package import Host
package import JSONText

/// What a session tells the connection that carries it.
package protocol QMPSessionDelegate: AnyObject {
    /// There may be output to take, or input that can now go on. Not called from within `process`.
    func sessionNeedsService(_ session: QMPSession)
}

/// One client's conversation, without its socket: bytes go in, bytes come out.
///
/// Commands are answered one after another in the order they came. While one is unfinished the input behind it waits
/// here, and once `inputRoom` is used up, in the socket. In the same way a client that does not read its answers is
/// given no more of them: nothing a client does makes this grow.
///
/// A client that has agreed on out-of-band execution may send commands that overtake the others. To find them the
/// session reads on while a command is unfinished, until a few others wait.
///
/// `qmp_capabilities` is optional, as with StratoVirt. Events wait until the client has sent a command; if that is
/// `qmp_capabilities`, they follow its answer, as QEMU's client library requires. After that, events and answers leave in
/// the order in which they came about: an event that a command causes precedes the command's answer.
package final class QMPSession {
    /// Bounds that keep a client's trouble its own.
    package struct Limits: Sendable {
        /// Bytes received and not yet processed.
        package var input = 64 << 10
        /// Bytes of output after which no further command is processed until the client reads.
        package var output = 256 << 10
        /// Events waiting; a further one pushes out the oldest.
        package var events = 50
        /// Commands read ahead of their turn in search of one that may overtake them; as many as QEMU reads.
        package var waiting = 8
        package var json = JSONLimits()

        package init() {}
    }

    package weak var delegate: (any QMPSessionDelegate)?
    private let version: QMPVersion
    private let commands: CommandTable
    private let machine: any MachineControl
    private let limits: Limits

    private var reader: JSONReader
    private var input: [UInt8] = []
    private var inputOffset = 0
    private var output: [UInt8] = []
    private var events: [JSONValue] = []
    /// Whether events may be sent.
    private var sendsEvents = false
    private var isProcessing = false
    private var serial: UInt64 = 0
    private var unfinished: [Unfinished] = []
    /// What came behind the unfinished command.
    private var waiting: [JSONReader.Outcome] = []
    private var outOfBand = false
    private var descriptor: FileDescriptor?

    /// A command that has been started and not been answered.
    private struct Unfinished {
        let serial: UInt64
        let id: JSONValue?
        let isOutOfBand: Bool
    }

    /// A session that has just begun: the greeting is its first output.
    package init(
        version: QMPVersion, commands: CommandTable, machine: any MachineControl, limits: Limits = Limits()
    ) {
        self.version = version
        self.commands = commands
        self.machine = machine
        self.limits = limits
        reader = JSONReader(limits: limits.json)
        write(version.greeting)
    }

    // MARK: Input

    /// How many bytes `receive` takes now.
    package var inputRoom: Int { max(0, limits.input - (input.count - inputOffset)) }

    /// Whether a command has been started and not been answered.
    package var isBusy: Bool { !unfinished.isEmpty }

    /// Whether commands may overtake others.
    package var allowsOutOfBand: Bool {
        get { outOfBand }
        set { outOfBand = newValue }
    }

    /// Takes bytes from the client, at most `inputRoom` of them; more are dropped.
    package func receive(_ bytes: Span<UInt8>) {
        if inputOffset == input.count {
            // A client that once sent much and now idles holds on to little.
            input.removeAll(keepingCapacity: input.capacity <= 4096)
            inputOffset = 0
        } else if inputOffset >= limits.input {
            input.removeFirst(inputOffset)
            inputOffset = 0
        }
        for index in 0..<min(bytes.count, inputRoom) { input.append(bytes[index]) }
    }

    /// Takes a descriptor that came with the client's bytes. One is kept, the last; it waits for a command that
    /// takes it and closes with the session.
    package func receive(_ descriptor: consuming FileDescriptor) {
        self.descriptor = consume descriptor
    }

    /// Hands over the descriptor that the client sent last, once.
    package func takeDescriptor() -> FileDescriptor? {
        descriptor.take()
    }

    /// Runs commands within `allowance`, and takes from it what they used. Returns whether input is left that could be
    /// processed at once.
    package func process(_ allowance: inout QMPAllowance) -> Bool {
        isProcessing = true
        defer { isProcessing = false }
        while !allowance.isUsedUp {
            let before = (read: inputOffset, written: output.count)
            let goesOn = runNext()
            allowance.bytes -= inputOffset - before.read + (output.count - before.written)
            guard goesOn else { break }
            allowance.commands -= 1
        }
        return mayRead || mayRun && !waiting.isEmpty
    }

    /// Runs or sets aside the next command. Returns false if there is none.
    private func runNext() -> Bool {
        if mayRun, !waiting.isEmpty {
            run(waiting.removeFirst())
            return true
        }
        // A value of its own: where exclusivity is not checked, a property's span would outlive its access.
        let bytes = input
        guard mayRead, let outcome = reader.next(in: bytes.span, from: &inputOffset) else { return false }
        if mayRun || isOutOfBand(outcome) { run(outcome) } else { waiting.append(outcome) }
        return true
    }

    /// Whether the next command in order may start.
    private var mayRun: Bool { !isBlocked && output.count < limits.output }

    /// Whether a command is unfinished that the others must wait for.
    private var isBlocked: Bool { unfinished.contains { !$0.isOutOfBand } }

    private var mayRead: Bool {
        inputOffset < input.count && output.count < limits.output
            && (!isBlocked && waiting.isEmpty || outOfBand && waiting.count < limits.waiting)
    }

    private func isOutOfBand(_ outcome: JSONReader.Outcome) -> Bool {
        guard outOfBand, case .value(let value) = outcome else { return false }
        return QMPRequest.isOutOfBand(value)
    }

    private func run(_ outcome: JSONReader.Outcome) {
        switch outcome {
        case .value(let value): execute(value)
        case .malformed(let error): respond(.failed(QMPError(error.description)), id: nil)
        }
    }

    private func execute(_ value: JSONValue) {
        let id = value["id"]
        let isOutOfBand = QMPRequest.isOutOfBand(value)
        do throws(QMPError) {
            guard outOfBand || !isOutOfBand else {
                throw QMPError("Out-of-band execution has not been agreed on; enable 'oob' by qmp_capabilities")
            }
            let request = try QMPRequest(value, commands: commands)
            // What any other first command causes comes before its answer.
            if request.command.name != "qmp_capabilities" { sendsEvents = true }
            serial &+= 1
            unfinished.append(Unfinished(serial: serial, id: id, isOutOfBand: isOutOfBand))
            let call = CommandCall(
                arguments: request.arguments, machine: machine, version: version, commands: commands, session: self,
                reply: QMPReply(session: self, serial: serial))
            let outcome = request.command.run(call)
            if outcome != .later { finish(serial, outcome) }
        } catch {
            respond(.failed(error), id: id)
        }
    }

    /// Answers the command of that number, if it has not been answered.
    func finish(_ serial: UInt64, _ outcome: CommandOutcome) {
        guard let index = unfinished.firstIndex(where: { $0.serial == serial }) else { return }
        let command = unfinished.remove(at: index)
        respond(outcome, id: command.id)
        if !isProcessing { delegate?.sessionNeedsService(self) }
    }

    // MARK: Output

    /// Whether `takeOutput` has anything to give.
    package var hasOutput: Bool { !output.isEmpty || (sendsEvents && !events.isEmpty) }

    /// Hands over what the client is to be sent next.
    package func takeOutput() -> [UInt8] {
        writeEvents()
        defer { output = [] }
        return output
    }

    /// Sends the client an event, behind the answers so far.
    package func post(_ event: QMPEvent, at time: QMPEvent.Timestamp) {
        if events.count >= limits.events { events.removeFirst() }
        events.append(event.json(at: time))
        if sendsEvents && !isProcessing { delegate?.sessionNeedsService(self) }
    }

    private func writeEvents() {
        guard sendsEvents else { return }
        for event in events { write(event) }
        events = []
    }

    private func respond(_ outcome: CommandOutcome, id: JSONValue?) {
        guard outcome != .later else { return }
        // StratoVirt's clients read once for each command, and lose an event that follows its answer.
        writeEvents()
        switch outcome {
        case .done(let value):
            output.append(contentsOf: #"{"return":"#.utf8)
            JSONWriter.write(value, to: &output)
        case .written(let text):
            output.append(contentsOf: #"{"return":"#.utf8)
            output.append(contentsOf: text)
        case .failed(let error):
            output.append(contentsOf: #"{"error":"#.utf8)
            JSONWriter.write(error.json, to: &output)
        case .later: break
        }
        if let id {
            output.append(contentsOf: #","id":"#.utf8)
            JSONWriter.write(id, to: &output)
        }
        output.append(contentsOf: "}\r\n".utf8)
        sendsEvents = true
    }

    private func write(_ value: JSONValue) {
        JSONWriter.write(value, to: &output)
        output.append(contentsOf: "\r\n".utf8)
    }
}
