package import Host

/// A background process that reports to its parent whether the start succeeded.
///
/// The parent waits for the report. If the start fails, errors go to standard error and the status is 1. A status of 0
/// means that the VM runs.
package struct Daemon: ~Copyable {
    private let report: FileDescriptor
    // Opened early: the sandbox may block the path later.
    private let null: FileDescriptor

    /// Forks twice and starts a session. Returns only in the daemon; the parent exits after the daemon's report or
    /// death.
    package static func detach() throws(Errno) -> Daemon {
        let pipe = try HostProcess.pipe()
        let child = try HostProcess.fork()
        if child != 0 {
            _ = try? HostProcess.wait(for: child)
            HostProcess.exitNow(waitForReport(pipe))
        }
        try HostProcess.startSession()
        // The second child is not a session leader, so it cannot acquire a controlling terminal.
        if try HostProcess.fork() != 0 { HostProcess.exitNow(0) }
        return Daemon(report: try pipe.second.duplicate(), null: try .open("/dev/null", .readWrite))
    }

    /// Waits for the daemon's report: 0 if the daemon is ready, 1 if it died before.
    private static func waitForReport(_ pipe: consuming SocketPair) -> Int32 {
        guard let reading = try? pipe.first.duplicate() else { return 1 }
        // Close this process's write end, so that the daemon's death ends the read.
        _ = consume pipe
        return (try? reading.read(count: 1)) == [0] ? 0 : 1
    }

    /// Replaces the standard streams by `/dev/null` and lets the parent exit with status 0.
    package consuming func ready() throws(Errno) {
        try HostProcess.replaceStandardStreams(by: null)
        try report.write([0])
    }
}
