/// Running, pausing and ending the guest.
package protocol RunCommands: AnyObject {
    /// What `query-status` answers.
    var status: RunStatus { get }
    /// Whether the vCPUs run.
    var isRunning: Bool { get }

    /// Pauses the vCPUs, finishes I/O, posts STOP, then completes `reply`. Posts nothing if the machine is paused.
    func stop(_ reply: QMPReply)
    /// Lets the vCPUs run, posts RESUME, then completes `reply`. Posts nothing if the machine is running.
    func resume(_ reply: QMPReply)
    /// Posts SHUTDOWN and ends the machine, after the answer has been sent.
    func quit()
    /// Posts POWERDOWN and SHUTDOWN and ends the machine, without asking the guest.
    func powerDown() throws(QMPError)
    /// Posts RESET and SHUTDOWN and ends the machine.
    func reset() throws(QMPError)
}

/// Whether the machine runs, in the words of `query-status`.
package enum RunStatus: String, CaseIterable, Sendable {
    case running
    case paused
    /// The guest has told that its kernel has panicked. Its vCPUs go on, so that it may reset itself or write a dump.
    case guestPanicked = "guest-panicked"
    /// Neither: being created, or ending. StratoVirt's word for it.
    case other = "debug"
}
