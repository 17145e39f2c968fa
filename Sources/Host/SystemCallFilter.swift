import CHost
import Glibc

/// One system call that a filter allows, and with which arguments.
package struct AllowedCall: Sendable {
    /// The kernel's name of it.
    package let name: String
    package let checks: [ArgumentCheck]

    /// All `checks` must hold; without any, every argument is allowed.
    package init(_ name: String, _ checks: [ArgumentCheck] = []) {
        self.name = name
        self.checks = checks
    }
}

/// What an argument of a system call must be: a 32-bit number, the first argument being 0.
package enum ArgumentCheck: Sendable {
    case oneOf(argument: UInt32, [UInt32])
    case without(argument: UInt32, bits: UInt32)
}

/// A seccomp filter, ready to be installed on any number of threads: it traps all calls but those it was made of.
package struct SystemCallFilter: Sendable {
    /// The program of classic BPF, whose instructions have 8 bytes each.
    private let program: [UInt8]

    /// Asks whether the kernel can filter at all.
    package static func checkKernel() throws(Errno) {
        _ = try checked { host_seccomp_is_available() }
    }

    /// Prepares the process for filters, before it has other threads: none of its threads can gain privileges any
    /// more, which the kernel demands of those who filter themselves, and a forbidden call ends it with `status`, after
    /// one line on `log`.
    package static func prepareProcess(log: Int32, status: Int32) throws(Errno) {
        _ = try checked { host_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
        _ = try checked { host_handle_forbidden_calls(log, status) }
    }

    /// Makes the filter of these calls; those that come first are looked for first.
    ///
    /// - Throws: `EINVAL` for the name of no call.
    package init(_ calls: [AllowedCall]) throws(Errno) {
        guard let context = unsafe seccomp_init(UInt32(SCMP_ACT_TRAP)) else { throw .noMemory }
        defer { unsafe seccomp_release(context) }
        try unsafe Self.check(seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, HOST_SCMP_ACT_KILL_PROCESS))
        for (index, call) in calls.enumerated() {
            let number = unsafe seccomp_syscall_resolve_name(call.name)
            guard number != __NR_SCMP_ERROR else { throw .invalidArgument }
            try unsafe Self.check(seccomp_syscall_priority(context, number, UInt8(clamping: 255 - index)))
            for conditions in Self.alternatives(call.checks) {
                try unsafe Self.check(
                    seccomp_rule_add_array(
                        context, UInt32(SCMP_ACT_ALLOW), number, UInt32(conditions.count), conditions))
            }
        }
        let file = try FileDescriptor.memory(name: "seccomp")
        try unsafe Self.check(seccomp_export_bpf(context, file.rawValue))
        program = try file.read(count: Int(clamping: FileStatus(of: file).size), at: 0)
    }

    /// Filters the calling thread from now on, for good.
    package func install() throws(Errno) {
        host_note_filtered_thread()
        _ = try checked { unsafe host_seccomp_install(program, program.count) }
    }

    /// Every way in which all checks can hold.
    private static func alternatives(_ checks: [ArgumentCheck]) -> [[scmp_arg_cmp]] {
        checks.reduce([[]]) { found, check in
            let values: [scmp_arg_cmp] =
                switch check {
                case .oneOf(let argument, let values): values.map { condition(argument, mask: .max, is: $0) }
                case .without(let argument, let bits): [condition(argument, mask: bits, is: 0)]
                }
            return found.flatMap { before in values.map { before + [$0] } }
        }
    }

    private static func condition(_ argument: UInt32, mask: UInt32, is value: UInt32) -> scmp_arg_cmp {
        scmp_arg_cmp(arg: argument, op: SCMP_CMP_MASKED_EQ, datum_a: UInt64(mask), datum_b: UInt64(value))
    }

    private static func check(_ result: Int32) throws(Errno) {
        if result < 0 { throw Errno(rawValue: -result) }
    }
}
