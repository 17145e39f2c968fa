package import Host

/// A process that has left its parent's session but still has to tell it whether it started.
///
/// The parent waits, so that whoever ran it finds errors on standard error and a status of 1, and everything in
/// place when the status is 0.
package struct Daemon: ~Copyable {
    private let report: FileDescriptor
    // Opened at once: it may be out of reach later.
    private let null: FileDescriptor

    /// Forks twice and leaves the session. Returns in the daemon only: the parent ends when the daemon reports, or
    /// has died.
    package static func detach() throws(Errno) -> Daemon {
        let pipe = try HostProcess.pipe()
        let child = try HostProcess.fork()
        if child != 0 {
            _ = try? HostProcess.wait(for: child)
            HostProcess.exitNow(waitForReport(pipe))
        }
        try HostProcess.startSession()
        // A second child is no session leader and so can never get a controlling terminal.
        if try HostProcess.fork() != 0 { HostProcess.exitNow(0) }
        return Daemon(report: try pipe.second.duplicate(), null: try .open("/dev/null", .readWrite))
    }

    /// The daemon's report: 0 if it is ready, 1 if it has died before.
    private static func waitForReport(_ pipe: consuming SocketPair) -> Int32 {
        guard let reading = try? pipe.first.duplicate() else { return 1 }
        // Without this process's own writing end, the daemon's death ends the reading.
        _ = consume pipe
        return (try? reading.read(count: 1)) == [0] ? 0 : 1
    }

    /// Gives up the standard streams and lets the parent end with status 0.
    package consuming func ready() throws(Errno) {
        try HostProcess.replaceStandardStreams(by: null)
        try report.write([0])
    }
}
