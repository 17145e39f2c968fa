package import Host

/// The seccomp filters of this process, one for each thread role. Each thread installs its own.
package struct SeccompFilters: Sendable {
    /// The exit status after a forbidden system call: the number of `SIGSYS`.
    package static let violationStatus: Int32 = 31

    private let main: SystemCallFilter
    private let iothread: SystemCallFilter?
    private let vcpu: SystemCallFilter

    /// Makes the filters for this profile and installs the handler of `SIGSYS`.
    ///
    /// Call it in the VM's final process, before the first thread starts and after the log is open.
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

    /// Restricts the calling thread permanently to the system calls of its role.
    package func install(_ role: ThreadRole) throws(Errno) {
        switch role {
        case .main: try main.install()
        case .iothread: try iothread?.install()
        case .vcpu: try vcpu.install()
        }
    }
}
