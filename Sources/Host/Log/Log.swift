import Glibc
import Synchronization

/// The process's log: whole lines, on standard error or in a file, that never hold up a virtual machine.
///
/// A line has a time stamp, a level, the id of the device or the part of the monitor that speaks, and a text.
package enum Log {
    private struct State {
        var output = LogOutput()
        var sites = CallSites()
    }

    private static let state = Mutex(State())
    private static let level = Atomic<Int>(LogLevel.info.rawValue)

    /// Shows lines of `level` and everything that matters more.
    package static func setLevel(_ level: LogLevel) {
        self.level.store(level.rawValue, ordering: .relaxed)
    }

    /// Whether lines of `level` are shown.
    package static func shows(_ level: LogLevel) -> Bool {
        level.rawValue <= self.level.load(ordering: .relaxed)
    }

    /// Sends all further lines to `file`, which stays open for good.
    package static func setOutput(_ file: consuming FileDescriptor) {
        let descriptor = file.release()
        state.withLock { $0.output.descriptor = descriptor }
    }

    /// The descriptor that lines go to.
    package static var descriptor: Int32 { state.withLock { $0.output.descriptor } }

    // MARK: Lines

    package static func error(
        _ source: String, _ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt32 = #line
    ) {
        write(.error, source, at: CallSite(file, line), text)
    }

    package static func warn(
        _ source: String, _ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt32 = #line
    ) {
        write(.warn, source, at: CallSite(file, line), text)
    }

    package static func info(
        _ source: String, _ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt32 = #line
    ) {
        write(.info, source, at: CallSite(file, line), text)
    }

    /// Of these and what matters less, whoever asks for them gets them all.
    package static func debug(_ source: String, _ text: @autoclosure () -> String) { write(.debug, source, text) }

    /// Writes one line; `source` is the id of the device, or the part of the monitor, that speaks.
    ///
    /// A reader that is slow or gone loses lines, which are counted, instead of blocking the writer.
    package static func write(_ level: LogLevel, _ source: String, _ text: () -> String) {
        guard shows(level) else { return }
        let line = LogLine(level, source, text())
        state.withLock { $0.output.write(line) }
    }

    /// Writes one line unless its place in the program has written too many lately.
    private static func write(_ level: LogLevel, _ source: String, at site: CallSite, _ text: () -> String) {
        guard shows(level) else { return }
        guard let suppressed = state.withLock({ $0.sites.admit(site, at: Clock.monotonic) }) else { return }
        write(level, source) { text() + LogLimit.note(suppressed) }
    }
}

/// One line of the log, of at most so many bytes that a pipe which is ready takes it whole.
struct LogLine {
    /// `PIPE_BUF`
    static let longest = 4096

    /// With the end of the line.
    let bytes: [UInt8]

    init(_ level: LogLevel, _ source: String, _ text: String) {
        let line = "\(Log.timeStamp(Clock.realTime)) \(level.text) \(source): \(text)"
        // Nobody can forge a line, and a terminal obeys no text of a guest's.
        var bytes = line.utf8.prefix(Self.longest - 1).map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: "?") : $0 }
        if line.utf8.count >= Self.longest {
            // Not in the middle of a character.
            while let last = bytes.last, last & 0xc0 == 0x80 { bytes.removeLast() }
            if bytes.last.map({ $0 >= 0xc0 }) == true { bytes.removeLast() }
        }
        self.bytes = bytes + [UInt8(ascii: "\n")]
    }
}
