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

    /// As lines show it.
    var text: String {
        switch self {
        case .error: "ERROR"
        case .warn: "WARN"
        case .info: "INFO"
        case .debug: "DEBUG"
        case .trace: "TRACE"
        }
    }
}
