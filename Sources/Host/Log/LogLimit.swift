/// Lets a call site log a few lines a second and counts the rest, so that a guest cannot fill a disk.
package struct LogLimit {
    private var window: LogWindow

    /// Allows `burst` lines in each second.
    package init(burst: Int = 5) {
        window = LogWindow(burst: burst, seconds: 1)
    }

    /// Logs at `level` unless this second's lines are used up.
    package mutating func write(_ level: LogLevel, _ source: String, _ text: @autoclosure () -> String) {
        guard let suppressed = window.admit(at: Clock.monotonic) else { return }
        Log.write(level, source) { text() + Self.note(suppressed) }
    }

    /// What a line says of those that were left out before it.
    static func note(_ suppressed: Int) -> String {
        suppressed == 0 ? "" : " (and \(suppressed) more such lines before)"
    }
}

/// So many lines in so many seconds.
struct LogWindow {
    private let burst: Int
    private let length: UInt64
    private var left: Int
    private var start: UInt64 = 0
    private var suppressed = 0

    init(burst: Int, seconds: UInt64) {
        self.burst = burst
        length = seconds &* 1_000_000_000
        left = burst
    }

    /// Whether a line may be written at `now`, in nanoseconds; if so, how many before it were not.
    mutating func admit(at now: UInt64) -> Int? {
        if now &- start >= length {
            start = now
            left = burst
        }
        guard left > 0 else {
            suppressed += 1
            return nil
        }
        left -= 1
        defer { suppressed = 0 }
        return suppressed
    }
}

/// A place in the program that writes to the log.
struct CallSite: Hashable {
    private let file: UInt
    private let line: UInt32

    init(_ file: StaticString, _ line: UInt32) {
        self.file = file.hasPointerRepresentation ? unsafe UInt(bitPattern: file.utf8Start) : 0
        self.line = line
    }
}

/// How much each place in the program has written lately. What guests can make the monitor say has narrower limits of
/// its own; this is for what nobody has thought of.
struct CallSites {
    /// 10 lines a second in the long run, and what many devices say at the start.
    static let burst = 100
    static let seconds: UInt64 = 10

    private var windows: [CallSite: LogWindow] = [:]

    /// Whether a line may be written at `now`, in nanoseconds; if so, how many before it were not.
    mutating func admit(_ site: CallSite, at now: UInt64) -> Int? {
        windows[site, default: LogWindow(burst: Self.burst, seconds: Self.seconds)].admit(at: now)
    }
}
