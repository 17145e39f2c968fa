import CHost
import Glibc

/// Where the log's lines go, and how many could not.
struct LogOutput {
    var descriptor: Int32 = 2
    private var lost = 0
    /// The last line was written in part.
    private var isTorn = false

    /// Writes a line if that can be done at once.
    mutating func write(_ line: LogLine) {
        if lost > 0 {
            let note = "\(lost) lines were lost: the log's reader or disk did not take them"
            guard put(LogLine(.warn, "log", note)) else {
                lost += 1
                return
            }
        }
        lost = put(line) ? 0 : 1
    }

    private mutating func put(_ line: LogLine) -> Bool {
        // A terminal or a socket may take less than a whole line, and does it rather than block.
        var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard unsafe poll(&ready, 1, 0) == 1, ready.revents & Int16(POLLOUT) != 0 else { return false }
        let bytes = isTorn ? [UInt8(ascii: "\n")] + line.bytes : line.bytes
        let written = unsafe Glibc.write(descriptor, bytes, bytes.count)
        guard written > 0 else { return false }
        isTorn = written < bytes.count
        return !isTorn
    }
}

extension Log {
    /// Makes sure that a terminal or pipe on standard error never blocks: the process gets an open file of its own for
    /// it, and leaves alone how others use the same one.
    package static func unblockStandardError() {
        var status = stat()
        guard unsafe fstat(2, &status) == 0 else { return }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFIFO || kind == S_IFCHR,
            let own = try? FileDescriptor.open(
                "/proc/self/fd/2", [.writeOnly, .nonBlocking, .noControllingTerminal])
        else { return }
        setOutput(own)
    }
}
