import Glibc

/// Why something asked of a machine, or of its process, did not come about.
public enum ClientError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A QMP command was refused: the error's class (`GenericError`, `DeviceNotFound`, …) and text.
    case refused(kind: String, text: String)
    /// It was not done in time; what it was.
    case timedOut(String)
    /// The other side has closed the connection; what was being done.
    case closed(String)
    /// The process has ended, before that could be done for which it is needed.
    case ended(Ending)
    /// The other side says what it must not; what that was.
    case malformed(String)
    /// The operating system refused a call: what was being done, and its `errno`.
    case system(String, errno: Int32)

    public var description: String {
        switch self {
        case .refused(let kind, let text): "\(kind): \(text)"
        case .timedOut(let task): "\(task): not done in time"
        case .closed(let task): "\(task): the connection was closed"
        case .ended(let ending): "apus has ended: \(ending)"
        case .malformed(let text): text
        case .system(let task, let number): "\(task): \(errorText(number))"
        }
    }

    /// Whether it may come about a moment later, when the other side listens.
    var mayPass: Bool {
        switch self {
        case .closed: true
        case .system(_, let number):
            [ENOENT, ECONNREFUSED, ECONNRESET, EPIPE, EAGAIN, ENODEV, ETIMEDOUT, EHOSTUNREACH, ENOTCONN].contains(
                number)
        case .refused, .timedOut, .ended, .malformed: false
        }
    }
}
