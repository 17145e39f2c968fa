import ApusClient
import CHost
import Glibc
import Host
import Sandbox
import TestSupport
import Testing

@Suite struct SyscallPolicyTests {
    @Test(arguments: ThreadRole.allCases)
    func eachAllowedCallWorks(_ role: ThreadRole) throws {
        let outcome = try probe([role.rawValue, "all"])
        #expect(outcome.ending == .ordinary, "\(outcome.output)")
    }

    @Test(arguments: ThreadRole.allCases, ForbiddenCall.everywhere)
    func aForbiddenCallEndsTheProcess(_ role: ThreadRole, _ call: ForbiddenCall) throws {
        try expectEnd(role, call)
    }

    @Test(arguments: ForbiddenCall.ofReactors)
    func callsOfReactorsAreForbiddenToVCPUs(_ call: ForbiddenCall) throws {
        try expectEnd(.vcpu, call)
    }

    @Test(arguments: ForbiddenCall.ofMain)
    func callsOfMainAreForbiddenWithOtherArguments(_ call: ForbiddenCall) throws {
        try expectEnd(.main, call)
    }

    @Test func vcpuThreadsHaveFewCalls() {
        // A call counts once, regardless of the number of allowed argument values.
        #expect(SyscallPolicy.calls(of: .vcpu, in: [.hotPlug, .connections, .iothreads]).count <= 12)
    }

    @Test(arguments: ThreadRole.allCases, [SyscallProfile.spareIOThreads, []])
    func onlyIOThreadsWithSpareThreadsMaySetTheirNames(_ role: ThreadRole, _ spare: SyscallProfile) {
        let calls = SyscallPolicy.calls(of: role, in: spare.union([.hotPlug, .connections, .iothreads]))
        #expect(calls.contains { $0.number == UInt32(SYS_prctl) } == (role == .iothread && !spare.isEmpty))
    }

    @Test(arguments: [
        (SyscallProfile.hotPlug, [SYS_openat, SYS_statx, SYS_pread64, SYS_eventfd2]), (.taps, [SYS_readv, SYS_writev]),
        (.connections, [SYS_connect, SYS_shutdown]),
    ])
    func callsOutsideTheProfileAreForbidden(_ need: SyscallProfile, _ calls: [Int32]) {
        let numbers = Set(calls.map { UInt32($0) })
        for role in ThreadRole.allCases {
            let others = SyscallProfile([.taps, .vhost, .connections, .iothreads]).subtracting(need)
            #expect(numbers.isDisjoint(with: SyscallPolicy.calls(of: role, in: others).map(\.number)), "\(role)")
        }
        #expect(numbers.isSubset(of: SyscallPolicy.calls(of: .main, in: need).map(\.number)))
    }

    private func probe(_ arguments: [String]) throws -> Outcome {
        let program = try builtProgram("SandboxProbe")
        return try Outcome { try Apus.launch(arguments: arguments, program: program, standardError: $0) }
    }

    private func expectEnd(_ role: ThreadRole, _ call: ForbiddenCall) throws {
        let outcome = try probe([role.rawValue, String(call.number)] + call.arguments.map { String($0) })
        #expect(outcome.ending == .forbiddenCall, "\(outcome.output)")
        #expect(outcome.output.contains("forbidden system call \(call.number) at 0x"))
        let thread = role == .main ? "SandboxProbe" : "probe \(role)"
        #expect(outcome.output.contains("(\(thread))"))
    }
}

struct ForbiddenCall: CustomTestStringConvertible {
    let number: Int32
    let arguments: [Int]

    init(_ number: Int32, _ arguments: Int...) {
        self.number = number
        self.arguments = arguments
    }

    var testDescription: String { "\(number)\(arguments)" }

    static let everywhere = [
        ForbiddenCall(SYS_openat, -1, 0, Int(O_CREAT)), ForbiddenCall(SYS_read, -1), ForbiddenCall(SYS_socket, 2, 1, 0),
        ForbiddenCall(SYS_openat, -1, 0, 0o20_200_000), ForbiddenCall(SYS_mkdirat, -1),
        ForbiddenCall(SYS_bind, -1), ForbiddenCall(SYS_execve, 0), ForbiddenCall(SYS_clone3, 0),
        ForbiddenCall(SYS_clone, -1), ForbiddenCall(SYS_ptrace, 0), ForbiddenCall(SYS_prctl, 0),
        ForbiddenCall(SYS_seccomp, 9),
        ForbiddenCall(SYS_mprotect, 0, 0, 1), ForbiddenCall(SYS_process_vm_writev, 0),
        ForbiddenCall(SYS_io_uring_setup, 1),
        ForbiddenCall(SYS_rt_sigaction, 0), ForbiddenCall(SYS_mremap, 0), ForbiddenCall(SYS_kill, 0),
        // Calls that some role may make with other arguments.
        ForbiddenCall(SYS_mmap, 0, 4096, Int(PROT_READ | PROT_EXEC), Int(MAP_PRIVATE | MAP_ANONYMOUS), -1),
        ForbiddenCall(SYS_ioctl, -1, 0xae01), ForbiddenCall(SYS_ioctl, -1, 0x5412),
        ForbiddenCall(SYS_madvise, -1, 0, Int(MADV_HUGEPAGE)), ForbiddenCall(SYS_futex, -1, Int(FUTEX_CMP_REQUEUE_PI)),
        ForbiddenCall(SYS_futex, -1, Int(FUTEX_WAIT)), ForbiddenCall(SYS_fcntl, -1, Int(F_SETOWN)),
        ForbiddenCall(SYS_setsockopt, -1, Int(SOL_SOCKET), Int(SO_REUSEADDR)),
    ]

    static let ofReactors = [
        ForbiddenCall(SYS_io_uring_enter, -1), ForbiddenCall(SYS_io_uring_register, -1, 6),
        ForbiddenCall(SYS_close, -1),
        ForbiddenCall(SYS_munmap, -1), ForbiddenCall(SYS_poll, 0), ForbiddenCall(SYS_ioctl, -1, Int(TCSETS)),
        ForbiddenCall(SYS_connect, -1), ForbiddenCall(SYS_shutdown, -1), ForbiddenCall(SYS_prctl, Int(PR_SET_NAME)),
    ]

    static let ofMain = [
        ForbiddenCall(SYS_tgkill, 1, 1, Int(SIGKILL)), ForbiddenCall(SYS_tkill, 1),
        ForbiddenCall(SYS_ioctl, -1, 0xae80),
        ForbiddenCall(SYS_openat, -1, 0, Int(O_CREAT)), ForbiddenCall(SYS_read, -1), ForbiddenCall(SYS_socket, 2, 1, 0),
        ForbiddenCall(SYS_bind, -1), ForbiddenCall(SYS_execve, 0), ForbiddenCall(SYS_clone3, 0),
        ForbiddenCall(SYS_prctl, Int(PR_SET_NAME)),
    ]

    private static let stream = Int((SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue) | SOCK_CLOEXEC.rawValue)
}
