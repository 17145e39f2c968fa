package import Host

/// The system call filters of this process, one for each role of a thread, which are made once and installed by every
/// thread for itself.
package struct SeccompFilters: Sendable {
    /// The exit status of a process that one of its threads has ended by a forbidden call: the number of `SIGSYS`.
    package static let violationStatus: Int32 = 31

    private let main: SystemCallFilter
    private let iothread: SystemCallFilter?
    private let vcpu: SystemCallFilter

    /// Makes the filters for a machine with these needs and prepares the process for them: before it starts threads, in
    /// the process that is to stay, and when the log is open.
    ///
    /// - Throws: `ENOSYS` or `EINVAL` if the kernel has no seccomp.
    package init(_ needs: SyscallProfile) throws(Errno) {
        try SystemCallFilter.checkKernel()
        main = try SystemCallFilter(SyscallPolicy.calls(of: .main, in: needs))
        iothread =
            needs.contains(.iothreads) ? try SystemCallFilter(SyscallPolicy.calls(of: .iothread, in: needs)) : nil
        vcpu = try SystemCallFilter(SyscallPolicy.calls(of: .vcpu, in: needs))
        try SystemCallFilter.prepareProcess(log: Log.descriptor, status: Self.violationStatus)
    }

    /// Leaves the calling thread only the system calls of its role, for good.
    package func install(_ role: ThreadRole) throws(Errno) {
        switch role {
        case .main: try main.install()
        case .iothread: try iothread?.install()
        case .vcpu: try vcpu.install()
        }
    }
}
