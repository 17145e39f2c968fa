import CHost
import Glibc

/// One system call that a filter allows, and with which arguments.
package struct AllowedCall: Sendable {
    /// The kernel's number of it (`SYS_*`).
    package let number: UInt32
    package let checks: [ArgumentCheck]

    /// All `checks` must hold; without any, every argument is allowed.
    package init(_ number: Int32, _ checks: [ArgumentCheck] = []) {
        self.number = UInt32(bitPattern: number)
        self.checks = checks
    }
}

/// What an argument of a system call must be: a 32-bit number, the first argument being 0. The kernel takes no more of
/// the arguments that are checked.
package enum ArgumentCheck: Sendable {
    case oneOf(argument: UInt32, [UInt32])
    case without(argument: UInt32, bits: UInt32)
}

/// A seccomp filter, ready to be installed on any number of threads: it traps all calls but those it was made of.
///
/// It is a program of classic BPF (seccomp(2)), which finds a call's number by halving. The kernel runs it once for each
/// number that there is when it is installed, and from then on only where arguments are to be looked at.
package struct SystemCallFilter: Sendable {
    private let program: [sock_filter]

    /// Asks whether the kernel can filter at all.
    package static func checkKernel() throws(Errno) {
        _ = try checked { host_seccomp_is_available() }
    }

    /// Prepares the process for filters, before it has other threads: a forbidden call ends it with `status`, after one
    /// line on `log`. The kernel demands that none of the threads can gain privileges any more.
    package static func prepareProcess(log: Int32, status: Int32) throws(Errno) {
        _ = try checked { host_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
        _ = try checked { host_handle_forbidden_calls(log, status) }
    }

    /// Makes the filter of these calls, in any order.
    ///
    /// - Throws: `EINVAL` if a call is there twice, or has more to check than the program can hold.
    package init(_ calls: [AllowedCall]) throws(Errno) {
        let sorted = calls.sorted { $0.number < $1.number }
        for (call, next) in zip(sorted, sorted.dropFirst()) where call.number == next.number { throw .invalidArgument }
        let tree = try Self.tree(sorted[...])
        program =
            [
                .load(Field.architecture), .jump(if: .equal, HOST_AUDIT_ARCH, then: 1, else: 0),
                .answer(HOST_SECCOMP_KILL_PROCESS), .load(Field.number),
            ] + tree
    }

    /// Filters the calling thread from now on, for good.
    package func install() throws(Errno) {
        host_note_filtered_thread()
        _ = try checked { unsafe host_seccomp_install(program, program.count) }
    }

    /// Where things are in what the program reads (`struct seccomp_data`).
    private enum Field {
        static let number: UInt32 = 0
        static let architecture: UInt32 = 4

        /// The low half of an argument, on a little-endian machine.
        static func argument(_ index: UInt32) -> UInt32 { 16 &+ 8 &* index }
    }

    // Each of the blocks made here answers in the end, whatever the call.

    /// Finds the loaded number among `calls`, which are sorted.
    private static func tree(_ calls: ArraySlice<AllowedCall>) throws(Errno) -> [sock_filter] {
        guard calls.count > 3 else {
            var block: [sock_filter] = []
            for call in calls {
                let body = try body(call)
                block.append(.jump(if: .equal, call.number, then: 0, else: try distance(body.count)))
                block += body
            }
            return block + [.answer(HOST_SECCOMP_TRAP)]
        }
        let middle = calls.startIndex + calls.count / 2
        let low = try tree(calls[..<middle])
        let high = try tree(calls[middle...])
        let number = calls[middle].number
        // A condition reaches no further than 255 instructions.
        if let distance = UInt8(exactly: low.count) {
            return [.jump(if: .atLeast, number, then: distance, else: 0)] + low + high
        }
        return [.jump(if: .atLeast, number, then: 0, else: 1), .jump(by: UInt32(clamping: low.count))] + low + high
    }

    /// Looks at the arguments of a call whose number was found.
    private static func body(_ call: AllowedCall) throws(Errno) -> [sock_filter] {
        var block: [sock_filter] = []
        for check in call.checks {
            switch check {
            case .oneOf(let argument, let values):
                block.append(.load(Field.argument(argument)))
                for (index, value) in values.enumerated() {
                    block.append(.jump(if: .equal, value, then: try distance(values.count - index), else: 0))
                }
            case .without(let argument, let bits):
                block += [.load(Field.argument(argument)), .jump(if: .hasBit, bits, then: 0, else: 1)]
            }
            block.append(.answer(HOST_SECCOMP_TRAP))
        }
        return block + [.answer(HOST_SECCOMP_ALLOW)]
    }

    private static func distance(_ count: Int) throws(Errno) -> UInt8 {
        guard let distance = UInt8(exactly: count) else { throw .invalidArgument }
        return distance
    }
}

// MARK: Instructions

extension sock_filter {
    fileprivate enum Test {
        case equal
        case atLeast
        case hasBit

        var code: Int32 {
            switch self {
            case .equal: BPF_JEQ
            case .atLeast: BPF_JGE
            case .hasBit: BPF_JSET
            }
        }
    }

    /// Loads the word at `offset`.
    fileprivate static func load(_ offset: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset)
    }

    /// Skips so many instructions, by what the loaded word is.
    fileprivate static func jump(
        if test: Test, _ value: UInt32, then: UInt8, else otherwise: UInt8
    ) -> sock_filter {
        sock_filter(code: UInt16(BPF_JMP | test.code | BPF_K), jt: then, jf: otherwise, k: value)
    }

    fileprivate static func jump(by count: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_JMP | BPF_JA), jt: 0, jf: 0, k: count)
    }

    /// Ends the program with this verdict.
    fileprivate static func answer(_ verdict: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: verdict)
    }
}
