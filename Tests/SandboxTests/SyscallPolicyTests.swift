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
    func whatReactorsMayDoAVCPUMayNot(_ call: ForbiddenCall) throws {
        try expectEnd(.vcpu, call)
    }

    @Test(arguments: ForbiddenCall.ofMain)
    func whatMainMayDoItMayNotDoToOthers(_ call: ForbiddenCall) throws {
        try expectEnd(.main, call)
    }

    @Test func aVCPUNeedsFewCalls() {
        #expect(Set(SyscallPolicy.calls(of: .vcpu).map(\.name)).count <= 12)
    }

    private func probe(_ arguments: [String]) throws -> Outcome {
        let program = try builtProgram("SandboxProbe")
        return try Outcome { try Apus.launch(arguments: arguments, program: program, standardError: $0) }
    }

    private func expectEnd(_ role: ThreadRole, _ call: ForbiddenCall) throws {
        let outcome = try probe([role.rawValue, call.name] + call.arguments.map { String($0) })
        #expect(outcome.ending == .forbiddenCall, "\(outcome.output)")
        let number = unsafe seccomp_syscall_resolve_name(call.name)
        #expect(outcome.output.contains("forbidden system call \(number) at 0x"))
        let thread = role == .main ? "SandboxProbe" : "probe \(role)"
        #expect(outcome.output.contains("(\(thread))"))
    }
}

struct ForbiddenCall: CustomTestStringConvertible {
    let name: String
    let arguments: [Int]

    init(_ name: String, _ arguments: Int...) {
        self.name = name
        self.arguments = arguments
    }

    var testDescription: String { "\(name)\(arguments)" }

    static let everywhere = [
        ForbiddenCall("openat", -1, 0, Int(O_CREAT)), ForbiddenCall("read", -1), ForbiddenCall("socket", 2, 1, 0),
        ForbiddenCall("bind", -1), ForbiddenCall("execve", 0), ForbiddenCall("clone3", 0),
        ForbiddenCall("clone", -1), ForbiddenCall("ptrace", 0), ForbiddenCall("prctl", 0), ForbiddenCall("seccomp", 9),
        ForbiddenCall("mprotect", 0, 0, 1), ForbiddenCall("process_vm_writev", 0), ForbiddenCall("io_uring_setup", 1),
        ForbiddenCall("rt_sigaction", 0), ForbiddenCall("mremap", 0), ForbiddenCall("kill", 0),
        // Calls that are allowed with other arguments.
        ForbiddenCall("mmap", 0, 4096, Int(PROT_READ | PROT_EXEC), Int(MAP_PRIVATE | MAP_ANONYMOUS), -1),
        ForbiddenCall("ioctl", -1, 0xae01), ForbiddenCall("ioctl", -1, 0x5412),
        ForbiddenCall("madvise", -1, 0, Int(MADV_HUGEPAGE)), ForbiddenCall("futex", -1, Int(FUTEX_CMP_REQUEUE_PI)),
        ForbiddenCall("futex", -1, Int(FUTEX_WAIT)), ForbiddenCall("fcntl", -1, Int(F_SETOWN)),
        ForbiddenCall("setsockopt", -1, Int(SOL_SOCKET), Int(SO_REUSEADDR)),
    ]

    static let ofReactors = [
        ForbiddenCall("io_uring_enter", -1), ForbiddenCall("io_uring_register", -1, 6), ForbiddenCall("close", -1),
        ForbiddenCall("munmap", -1), ForbiddenCall("poll", 0), ForbiddenCall("ioctl", -1, Int(TCSETS)),
        ForbiddenCall("connect", -1), ForbiddenCall("shutdown", -1),
    ]

    static let ofMain = [
        ForbiddenCall("tgkill", 1, 1, Int(SIGKILL)), ForbiddenCall("tkill", 1), ForbiddenCall("ioctl", -1, 0xae80),
        ForbiddenCall("openat", -1, 0, Int(O_CREAT)), ForbiddenCall("read", -1), ForbiddenCall("socket", 2, 1, 0),
        ForbiddenCall("bind", -1), ForbiddenCall("execve", 0), ForbiddenCall("clone3", 0),
    ]

    private static let stream = Int((SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue) | SOCK_CLOEXEC.rawValue)
}
