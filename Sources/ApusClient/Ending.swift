/// How an apus process has ended, by its exit status.
public enum Ending: Equatable, Sendable, CustomStringConvertible {
    /// Status 0: the guest powered off or reset, or the host asked for the end; the SHUTDOWN event told which.
    /// With `-daemonize`: the machine runs in the background.
    case ordinary
    /// Status 1: the machine could not be started; the last line on standard error says why.
    case notStarted
    /// Status 2: a vCPU could not go on, and the machine is lost.
    case lost
    /// Status 31: a thread made a system call that its role does not have, and was stopped.
    case forbiddenCall
    /// Another status: not apus's own.
    case status(Int32)
    /// A signal ended the process, SIGKILL for example.
    case signal(Int32)

    init(status: Int32) {
        self =
            switch status {
            case 0: .ordinary
            case 1: .notStarted
            case 2: .lost
            case 31: .forbiddenCall
            default: .status(status)
            }
    }

    public var description: String {
        switch self {
        case .ordinary: "in good order"
        case .notStarted: "the machine could not be started (status 1)"
        case .lost: "a vCPU could not go on (status 2)"
        case .forbiddenCall: "stopped at a forbidden system call (status 31)"
        case .status(let status): "status \(status)"
        case .signal(let number): "ended by signal \(number)"
        }
    }
}
