import EventLoop
import Host

/// Writes a chardev's output to one file, one operation at a time, as fast as its reader takes it.
final class CharacterWriter: RingClient {
    /// How the file is written to.
    enum Method {
        /// A stream socket.
        case send
        /// A pipe or terminal.
        case write
        /// A regular file, from its beginning.
        case writeAt
    }

    private enum Tag {
        static let write: UInt32 = 0
        static let ready: UInt32 = 1
    }

    private let reactor: Reactor
    private let file: FileDescriptor
    private let method: Method
    private let history: OutputHistory
    private weak var owner: Chardev?
    /// Where in the history the next piece begins.
    private var position: UInt64
    private var fileOffset: UInt64 = 0
    // What is in flight has a copy of its own: the history may forget it meanwhile.
    private let piece = IOBuffer(capacity: 16384)
    private var unwritten: HostSlice
    private var isBusy = false
    private var lost: UInt64 = 0
    private var limit = LogLimit(burst: 1)

    /// Writes what follows `position` in `history` to `file`.
    init(
        _ reactor: Reactor, _ file: consuming FileDescriptor, _ method: Method, _ history: OutputHistory,
        from position: UInt64, owner: Chardev
    ) {
        self.reactor = reactor
        self.file = file
        self.method = method
        self.history = history
        self.position = position
        self.owner = owner
        unwritten = piece.all.prefix(0)
    }

    /// Bytes in the history that wait to be written.
    var waiting: Int { Int(clamping: history.end - max(position, history.start)) }

    /// Bytes that have not left yet.
    var unsent: Int { waiting + unwritten.count }

    /// There is something to write; it leaves when this turn ends, together with what else comes until then.
    func wake() {
        if !isBusy, !isRetiring { reactor.schedule(self) }
    }

    override func endOfTurn() {
        if !isBusy { advance() }
    }

    /// Writes the rest of the piece, or the next one.
    private func advance() {
        if unwritten.count == 0 {
            let oldest = history.start
            if position < oldest {
                lost += oldest - position
                position = oldest
            }
            unwritten = piece.all.prefix(history.copy(from: position, into: piece.all))
            position += UInt64(unwritten.count)
        }
        guard unwritten.count > 0 else {
            reportLoss()
            return
        }
        let target = IOFile(descriptor: file.rawValue)
        let operation: Operation =
            switch method {
            case .send: .send(target, unwritten)
            case .write: .write(target, unwritten, at: Operation.currentPosition)
            case .writeAt: .write(target, unwritten, at: fileOffset)
            }
        isBusy = reactor.submit(operation, for: self, tag: Tag.write)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        isBusy = false
        guard !isRetiring else { return }
        if tag == Tag.write {
            if result > 0 {
                unwritten = unwritten.dropFirst(Int(result))
                fileOffset &+= UInt64(result)
                owner?.outputLeft()
            } else {
                let error = Errno(rawValue: result == 0 ? Errno.ioError.rawValue : -result)
                if error == .again {
                    let ready = Operation.poll(IOFile(descriptor: file.rawValue), PollEvents.writable)
                    isBusy = reactor.submit(ready, for: self, tag: Tag.ready)
                } else if error != .interrupted {
                    fail(error)
                }
            }
        }
        // The front end may have written, and the owner may have ended this writer.
        if !isBusy, !isRetiring { advance() }
    }

    /// A file that cannot be written now (the disk is full) may be written again later; anything else is over.
    private func fail(_ error: Errno) {
        guard method == .writeAt else {
            owner?.writerFailed(self, error)
            return
        }
        limit.write(.warn, owner?.id ?? "chardev", "cannot write output: \(error); \(unsent) bytes are lost")
        unwritten = piece.all.prefix(0)
        position = history.end
        owner?.outputLeft()
    }

    private func reportLoss() {
        guard lost > 0 else { return }
        limit.write(.warn, owner?.id ?? "chardev", "\(lost) bytes of output were lost: their reader was too slow")
        lost = 0
    }
}
