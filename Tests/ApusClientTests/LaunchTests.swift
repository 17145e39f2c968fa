import ApusClient
import Glibc
import Host
import TestSupport
import Testing

/// Processes as the library starts them, with a shell in apus's place where its own words don't matter.
@Suite struct LaunchTests {
    /// What a shell's command writes.
    private func output(
        of command: String, descriptors: [Int32: Int32] = [:], environment: [String]? = nil
    ) throws -> String {
        let outcome = try Outcome {
            try Apus.launch(
                arguments: ["-c", command], program: "bash", descriptors: descriptors, environment: environment,
                standardOutput: $0)
        }
        #expect(outcome.ending == .ordinary)
        return outcome.output
    }

    @Test func descriptorsArriveAtTheirNumbers() throws {
        let first = try HostProcess.pipe()
        let second = try HostProcess.pipe()
        try first.second.write(Array("one\n".utf8))
        try second.second.write(Array("two\n".utf8))
        // Each takes the other's number; unless the tests beside this one have so much open that theirs are too high.
        let own = (first.first.rawValue, second.first.rawValue)
        let (one, other) = max(own.0, own.1) < 1024 ? own : (5, 6)
        let numbers = [one: second.first.rawValue, other: first.first.rawValue]
        let command = "read a <&\(one); read b <&\(other); echo $a $b"
        #expect(try output(of: command, descriptors: numbers) == "two one\n")
    }

    @Test func nothingElseIsInherited() throws {
        let pipe = try HostProcess.pipe()
        // One that is not closed on exec, as programs not written with care have them.
        let careless = FileDescriptor(owning: dup(pipe.first.rawValue))
        let found = try output(of: "cd /proc/$$/fd; ls; true", descriptors: [5: pipe.first.rawValue])
        // The shell keeps its own from 200 on.
        let numbers = found.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.filter { $0 < 200 }
        #expect(numbers == [0, 1, 2, 5], "\(careless.rawValue)")
    }

    @Test func environments() throws {
        unsafe setenv("APUS_CLIENT_TEST", "inherited", 1)
        let command = "echo $APUS_CLIENT_TEST"
        #expect(try output(of: command) == "inherited\n")
        #expect(try output(of: command, environment: ["APUS_CLIENT_TEST=given"]) == "given\n")
        #expect(try output(of: command, environment: []) == "\n")
    }

    @Test(
        arguments: [
            ("exit 0", .ordinary), ("exit 1", .notStarted), ("exit 2", .lost), ("exit 31", .forbiddenCall),
            ("exit 7", .status(7)),
            ("kill -TERM $$", .signal(SIGTERM)),
        ] as [(String, Ending)])
    func endings(_ command: String, _ ending: Ending) throws {
        let process = try Apus.launch(arguments: ["-c", command], program: "/bin/sh")
        #expect(try process.wait() == ending)
        #expect(try process.wait(timeout: .zero) == ending, "it is known from then on")
        process.kill()
        #expect(!ending.description.isEmpty)
    }

    @Test func waitingHasAnEnd() throws {
        let pipe = try HostProcess.pipe()
        let waiting = try Apus.launch(arguments: ["-c", "read x"], program: "sh", standardInput: pipe.first.rawValue)
        #expect(try waiting.wait(timeout: .zero) == nil)
        #expect(try waiting.wait(timeout: .milliseconds(20)) == nil)
        waiting.kill()
        #expect(try waiting.wait() == .signal(SIGKILL))
    }

    @Test func wrongInputs() throws {
        #expect(throws: ClientError.system("starting /no/such", errno: ENOENT)) {
            try Apus.launch(arguments: [], program: "/no/such")
        }
        #expect(throws: ClientError.system("starting sh", errno: EINVAL)) {
            try Apus.launch(arguments: ["a\0b"], program: "sh")
        }
        #expect(throws: ClientError.system("starting sh", errno: EBADF)) {
            try Apus.launch(arguments: [], program: "sh", descriptors: [3: 987_654])
        }
        for number in [-1, 0, 2, 1024, .max] as [Int32] {
            #expect(throws: ClientError.self) {
                try Apus.launch(arguments: [], program: "sh", descriptors: [number: 0])
            }
        }
    }

    @Test func aMachineThatCannotBeSaysWhy() throws {
        let program = try builtProgram("apus")
        let outcome = try Outcome {
            let process = try Apus.launch(arguments: ["-machine", "no-such"], program: program, standardError: $0)
            #expect(throws: ClientError.ended(.notStarted)) { try QMP.connect(to: "/no/such/socket", of: process) }
            return process
        }
        #expect(outcome.ending == .notStarted)
        #expect(outcome.output.contains("-machine") && outcome.output.contains("no-such"), "\(outcome.output)")
    }
}
