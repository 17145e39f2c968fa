import CHost
import Glibc
import Synchronization

/// How much a log line matters; `STRATOVIRT_LOG_LEVEL` and `APUS_LOG` name these.
package enum LogLevel: Int, Comparable, Sendable, CaseIterable {
    case error, warn, info, debug, trace

    /// The level of a name in any case, or nil.
    package init?(name: String) {
        switch name.lowercased() {
        case "error": self = .error
        case "warn", "warning": self = .warn
        case "info": self = .info
        case "debug": self = .debug
        case "trace": self = .trace
        default: return nil
        }
    }

    package static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }

    fileprivate var text: String {
        switch self {
        case .error: "ERROR"
        case .warn: "WARN"
        case .info: "INFO"
        case .debug: "DEBUG"
        case .trace: "TRACE"
        }
    }
}

/// The process's log: whole lines, on standard error or in a file, that never hold up a virtual machine.
package enum Log {
    private struct State {
        var output: Int32 = 2
        var lost = 0
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
        state.withLock { $0.output = descriptor }
    }

    /// The descriptor that lines go to.
    package static var descriptor: Int32 { state.withLock { $0.output } }

    package static func error(_ source: String, _ text: @autoclosure () -> String) { write(.error, source, text) }
    package static func warn(_ source: String, _ text: @autoclosure () -> String) { write(.warn, source, text) }
    package static func info(_ source: String, _ text: @autoclosure () -> String) { write(.info, source, text) }
    package static func debug(_ source: String, _ text: @autoclosure () -> String) { write(.debug, source, text) }

    /// Writes one line; `source` is the id of the device, or the part of the monitor, that speaks.
    ///
    /// A reader that is slow or gone loses lines, which are counted, instead of blocking the writer.
    package static func write(_ level: LogLevel, _ source: String, _ text: () -> String) {
        guard shows(level) else { return }
        let line = "\(timeStamp(Clock.realTime)) \(level.text) \(source): \(printable(text()))\n"
        state.withLock { state in
            var ready = pollfd(fd: state.output, events: Int16(POLLOUT), revents: 0)
            guard unsafe poll(&ready, 1, 0) == 1, ready.revents & Int16(POLLOUT) != 0 else {
                state.lost += 1
                return
            }
            let lost = state.lost == 0 ? "" : "\(timeStamp(Clock.realTime)) WARN log: \(state.lost) lines were lost\n"
            // At most PIPE_BUF bytes, so that a pipe that is ready takes them without blocking.
            let bytes = Array((lost + line).utf8.prefix(4095))
            if unsafe Glibc.write(state.output, bytes, bytes.count) == bytes.count {
                state.lost = 0
            } else {
                state.lost += 1
            }
        }
    }

    /// Text with control characters made visible, so that nobody can forge a log line.
    private static func printable(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) else { return text }
        return String(
            decoding: text.utf8.map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
    }

    /// `2026-01-31T12:00:00.000000Z` of nanoseconds since 1970.
    static func timeStamp(_ nanoseconds: UInt64) -> String {
        let day = date(nanoseconds / 86_400_000_000_000)
        let second = nanoseconds / 1_000_000_000 % 86_400
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = [(day.year, 4), (day.month, 2), (day.day, 2)]
        let time = [(second / 3600, 2), (second / 60 % 60, 2), (second % 60, 2)]
        return date.map { padded($0.0, $0.1) }.joined(separator: "-") + "T"
            + time.map { padded($0.0, $0.1) }.joined(separator: ":")
            + "." + padded(nanoseconds / 1000 % 1_000_000, 6) + "Z"
    }

    /// The date of a day since 1970. The C library would open its time zone's file to tell, which a filtered thread
    /// must not.
    ///
    /// A year is counted from March here, so that a leap day is its last; 400 years have 146,097 days.
    private static func date(_ daysSince1970: UInt64) -> (year: UInt64, month: UInt64, day: UInt64) {
        let sinceYear0 = daysSince1970 + 719_468
        let (cycles, days) = sinceYear0.quotientAndRemainder(dividingBy: 146_097)
        let year = (days - days / 1460 + days / 36_524 - days / 146_096) / 365
        let dayOfYear = days - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        let isNextYear = month >= 10
        return (
            cycles * 400 + year + (isNextYear ? 1 : 0), isNextYear ? month - 9 : month + 3,
            dayOfYear - (153 * month + 2) / 5 + 1
        )
    }
}

/// Lets a call site log a few lines a second and counts the rest, so that a guest cannot fill a disk.
package struct LogLimit {
    private let burst: Int
    private var left: Int
    private var windowStart: UInt64 = 0
    private var suppressed = 0

    /// Allows `burst` lines in each second.
    package init(burst: Int = 5) {
        self.burst = burst
        left = burst
    }

    /// Logs at `level` unless this second's lines are used up.
    package mutating func write(_ level: LogLevel, _ source: String, _ text: @autoclosure () -> String) {
        let now = Clock.monotonic
        if now &- windowStart >= 1_000_000_000 {
            windowStart = now
            left = burst
        }
        guard left > 0 else {
            suppressed += 1
            return
        }
        left -= 1
        let note = suppressed == 0 ? "" : " (and \(suppressed) more such lines before)"
        suppressed = 0
        Log.write(level, source) { text() + note }
    }
}
