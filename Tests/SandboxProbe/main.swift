// Makes system calls on a thread with the filter of its role, and exits with status 0 if the filter allows them.
//
// usage: SandboxProbe ROLE all              every call that the role's policy allows, except those that end the thread
//        SandboxProbe ROLE CALL [NUMBER...]  the call of this number, with up to six arguments
import CHost
import Glibc
import Host
import Sandbox

func call(_ number: UInt32, _ arguments: [Int]) {
    let all = arguments + Array(repeating: 0, count: 6 - arguments.count)
    _ = host_system_call(Int(number), all[0], all[1], all[2], all[3], all[4], all[5])
}

/// Arguments that pass the checks and make the call change nothing.
func harmlessArguments(_ checks: [ArgumentCheck]) -> [[Int]] {
    checks.reduce([[-1, 0, 0, 0, 0, 0]]) { found, check in
        guard case .oneOf(let argument, let values) = check else { return found }
        return found.flatMap { before in
            values.map { value in
                var after = before
                after[Int(argument)] = Int(value)
                return after
            }
        }
    }
}

func perform(_ role: ThreadRole, _ number: UInt32?, _ arguments: [Int]) {
    if let number { return call(number, arguments) }
    let ends = [SYS_exit, SYS_exit_group, SYS_rt_sigreturn].map { UInt32($0) }
    for allowed in SyscallPolicy.calls(of: role, in: everything) where !ends.contains(allowed.number) {
        for arguments in harmlessArguments(allowed.checks) { call(allowed.number, arguments) }
    }
}

let everything: SyscallProfile = [.hotPlug, .taps, .vhost, .connections, .iothreads, .spareIOThreads]

func run() throws(Errno) {
    guard CommandLine.arguments.count > 2, let role = ThreadRole(rawValue: CommandLine.arguments[1]) else {
        throw .invalidArgument
    }
    let number = UInt32(CommandLine.arguments[2])
    let arguments = CommandLine.arguments.dropFirst(3).map { Int($0) ?? 0 }
    HostProcess.useOneHeap()
    let filters = try SeccompFilters(everything)
    if role == .main {
        try filters.install(role)
        perform(role, number, arguments)
    } else {
        let thread = try HostThread(name: "probe \(role)") {
            do throws(Errno) {
                try filters.install(role)
                perform(role, number, arguments)
            } catch {
                HostProcess.exitNow(1)
            }
        }
        thread.join()
    }
}

do throws(Errno) {
    try run()
} catch {
    HostProcess.printError("\(error)\n")
    HostProcess.exit(1)
}
HostProcess.exit(0)
