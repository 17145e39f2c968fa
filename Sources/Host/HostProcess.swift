import CHost
import Glibc

/// This process and its children.
package enum HostProcess {
    /// The kernel's number of this process.
    package static var id: Int32 { getpid() }

    /// Makes a child that goes on here as the parent does; only while the process has one thread.
    ///
    /// - Returns: 0 in the child, the child's number in the parent.
    package static func fork() throws(Errno) -> Int32 {
        try checked { host_fork() }
    }

    /// Leaves the session and the controlling terminal.
    package static func startSession() throws(Errno) {
        _ = try checked { setsid() }
    }

    /// Ends the process at once, without running what is registered for exit.
    package static func exitNow(_ status: Int32) -> Never {
        _exit(status)
    }

    /// Ends the process with this status.
    package static func exit(_ status: Int32) -> Never {
        Glibc.exit(status)
    }

    /// Waits for a child to end; its exit status, or 255 if a signal ended it.
    package static func wait(for child: Int32) throws(Errno) -> Int32 {
        var status: Int32 = 0
        _ = try checked { unsafe waitpid(child, &status, 0) }
        return host_wifexited(status) != 0 ? host_wexitstatus(status) : 255
    }

    /// A pipe, as its reading and its writing end.
    package static func pipe() throws(Errno) -> SocketPair {
        var ends: [Int32] = [-1, -1]
        _ = try checked { unsafe Glibc.pipe(&ends) }
        for end in ends { _ = host_fcntl(end, F_SETFD, Int(FD_CLOEXEC)) }
        return SocketPair(first: FileDescriptor(owning: ends[0]), second: FileDescriptor(owning: ends[1]))
    }

    /// Connects standard input, output and error with a file, such as `/dev/null`.
    package static func replaceStandardStreams(by file: borrowing FileDescriptor) throws(Errno) {
        let descriptor = file.rawValue
        for stream in 0...2 as ClosedRange<Int32> { _ = try checked { dup2(descriptor, stream) } }
    }

    /// Makes all threads allocate from one heap; before there is a second thread.
    ///
    /// A heap of its own for each thread would cost memory that is hardly used, and calls to the kernel that its
    /// filter need not allow otherwise. What is quick here does not allocate.
    package static func useOneHeap() {
        host_use_one_heap()
    }

    /// The value of an environment variable.
    package static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// Writes `text` to standard error, as far as it takes it.
    package static func printError(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe Glibc.write(2, bytes, bytes.count)
    }

    /// Writes `text` to standard output, all of it unless that fails.
    package static func printOutput(_ text: String) {
        let output = FileDescriptor(owning: 1)
        try? output.write(Array(text.utf8))
        _ = output.release()
    }

    /// Size of a page of memory, in bytes.
    package static var pageSize: Int { Int(getpagesize()) }
}
