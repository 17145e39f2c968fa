import Control

/// Why a machine ends: what clients, the log and the exit status say about it.
enum EndCause: Equatable {
    /// The guest powered off, or reset itself, which ends a light machine.
    case guestPowerOff
    case guestReset
    /// A triple fault: how a guest without a reset register resets.
    case guestTripleFault
    /// The same after the guest's kernel has panicked.
    case guestPanic(resets: Bool)
    /// QMP's `quit`, `system_powerdown` and `system_reset`.
    case quit
    case hostPowerDown
    case hostReset
    case signal(Int32)
    /// A vCPU cannot go on.
    case processorFailure(String)
    /// The kernel does not serve a reactor's io_uring any more.
    case ringFailure(String)

    /// The exit status of a process whose machine was lost.
    static let lostStatus: Int32 = 2

    /// The process's exit status.
    var status: Int32 {
        switch self {
        case .processorFailure, .ringFailure: Self.lostStatus
        default: 0
        }
    }

    /// Whether the guest brought it about.
    var isGuest: Bool {
        switch self {
        case .guestPowerOff, .guestReset, .guestTripleFault, .guestPanic: true
        case .quit, .hostPowerDown, .hostReset, .signal, .processorFailure, .ringFailure: false
        }
    }

    /// The reason in the SHUTDOWN event.
    var reason: String {
        switch self {
        // StratoVirt's word for all three; a reset is told by the RESET event before.
        case .guestPowerOff, .guestReset, .guestTripleFault: "guest-shutdown"
        case .guestPanic: "guest-panic"
        case .quit: "host-qmp-quit"
        case .hostPowerDown: "host-qmp-system-powerdown"
        case .hostReset: "host-qmp-system-reset"
        case .signal(let number): "Guest shutdown by signal \(number)"
        case .processorFailure, .ringFailure: "internal-error"
        }
    }

    /// The last line of the log.
    var text: String {
        switch self {
        case .guestPowerOff: "the guest powered off"
        case .guestReset: "the guest reset itself"
        case .guestTripleFault: "the guest ended in a triple fault, its way to reset"
        case .guestPanic(resets: true): "the guest's kernel panicked, and the guest reset itself"
        case .guestPanic(resets: false): "the guest's kernel panicked, and the guest powered off"
        case .quit: "ended by quit"
        case .hostPowerDown: "ended by system_powerdown"
        case .hostReset: "ended by system_reset"
        case .signal(let number): "ended by signal \(number)"
        case .processorFailure(let failure), .ringFailure(let failure): "lost: \(failure)"
        }
    }

    /// The cause as it is when the guest's kernel has panicked before.
    var afterPanic: EndCause {
        switch self {
        case .guestPowerOff: .guestPanic(resets: false)
        case .guestReset, .guestTripleFault: .guestPanic(resets: true)
        default: self
        }
    }

    /// The events that announce it, in their order.
    var events: [QMPEvent] {
        let shutdown = QMPEvent.shutdown(guest: isGuest, reason: reason)
        return switch self {
        case .hostPowerDown: [.powerdown, shutdown]
        case .guestReset, .guestTripleFault, .guestPanic(resets: true), .hostReset: [.reset(guest: isGuest), shutdown]
        default: [shutdown]
        }
    }
}
