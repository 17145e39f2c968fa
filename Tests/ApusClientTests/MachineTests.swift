import ApusClient
import Glibc
import Host
import TestSupport
import Testing

/// Real machines, whose guests do next to nothing.
@Suite(.enabled(if: Machine.isThere)) struct MachineTests {
    @Test func aMachineIsAskedAndEnded() throws {
        let machine = try Machine()
        let qmp = try machine.connect()
        #expect(qmp.greeting["QMP"]?["version"]?["qemu"]?["major"]?.intValue ?? 0 >= 5)
        #expect(try qmp.execute("query-status")["status"] == "running")
        let cpus = try qmp.execute("query-cpus")
        #expect(cpus[0]?["thread_id"]?.intValue ?? 0 > Int64(machine.apus.processID))

        // A second client beside the first, with events of its own.
        let other = try machine.connect()
        try other.execute("stop")
        try qmp.wait(for: "STOP")
        #expect(try qmp.execute("query-status")["running"] == false)
        try qmp.execute("cont")
        #expect(try other.nextEvent(timeout: .seconds(60))?.name == "STOP")
        #expect(try other.nextEvent(timeout: .seconds(60))?.name == "RESUME")
        #expect(try other.nextEvent(timeout: .zero) == nil)

        try qmp.execute("quit")
        let event = try other.wait(for: "SHUTDOWN") { $0["guest"] == false }
        #expect(event.data["reason"] == "host-qmp-quit" && event.time > 1_600_000_000_000_000)
        #expect(try machine.apus.wait(timeout: .seconds(60)) == .ordinary)
        #expect(throws: ClientError.closed("QMP")) { try other.nextEvent() }
        // What the first had not asked for yet is still there.
        #expect(throws: ClientError.closed("QMP")) { try qmp.execute("query-status") }
        #expect(try qmp.nextEvent(timeout: .zero)?.name == "RESUME")
    }

    @Test func aGuestEndsItsMachine() throws {
        let machine = try Machine(Machine.tripleFault, ["-S"])
        let qmp = try machine.connect()
        try qmp.execute("cont")
        #expect(try qmp.wait(for: "SHUTDOWN").data == ["guest": true, "reason": "guest-shutdown"])
        #expect(try machine.apus.wait(timeout: .seconds(60)) == .ordinary)
    }

    @Test func aKilledMachineIsGone() throws {
        let machine = try Machine()
        let qmp = try machine.connect()
        machine.apus.kill()
        #expect(try machine.apus.wait(timeout: .seconds(60)) == .signal(SIGKILL))
        #expect(throws: ClientError.self) { try qmp.execute("query-status") }
        #expect(throws: ClientError.ended(.signal(SIGKILL))) { try machine.connect() }
    }

    @Test func aDiskComesAndGoes() throws {
        let machine = try Machine()
        try machine.folder.write("disk", [UInt8](repeating: 0, count: 4096))
        let qmp = try machine.connect()
        let file: JSON = ["driver": "file", "filename": .string(machine.folder.path("disk"))]
        try qmp.execute("blockdev-add", ["node-name": "data", "file": file])
        try qmp.execute("device_add", ["id": "data", "driver": "virtio-blk-mmio", "drive": "data", "addr": "1"])
        #expect(try qmp.execute("query-block")[0]?["device"] == "data")
        try qmp.execute("device_del", ["id": "data"])
        try qmp.wait(for: "DEVICE_DELETED") { $0["device"] == "data" }
        #expect(try qmp.execute("query-block") == [])
    }

    @Test func whatIsRefusedIsAValue() throws {
        let machine = try Machine()
        let qmp = try machine.connect()
        for (command, arguments, kind) in [
            ("no-such-command", nil, "GenericError"), ("device_del", ["id": "none"], "DeviceNotFound"),
            ("device_del", [:], "GenericError"), ("device_del", 1, "GenericError"), ("a\"\n", nil, "GenericError"),
        ] as [(String, JSON?, String)] {
            let error = #expect(throws: ClientError.self) { try qmp.execute(command, arguments) }
            guard case .refused(kind, let text) = error else {
                Issue.record("\(command): \(String(describing: error))")
                continue
            }
            #expect(!text.isEmpty)
        }
        #expect(try qmp.execute("query-status")["running"] == true, "the connection goes on")
    }

    @Test func descriptorsAreHandedOver() throws {
        let machine = try Machine()
        let qmp = try machine.connect()
        let pipe = try HostProcess.pipe()
        let reading = try pipe.first.duplicate()
        #expect(throws: ClientError.self) { try qmp.execute("getfd", ["fdname": "end"]) }
        try qmp.execute("getfd", ["fdname": "end"], descriptor: pipe.second.rawValue)
        _ = consume pipe
        // It lives on in the machine alone, and goes with its name.
        #expect(try ready(reading, within: 0) == false)
        try qmp.execute("closefd", ["fdname": "end"])
        #expect(try ready(reading, within: 60_000))
        #expect(throws: ClientError.self) { try qmp.execute("closefd", ["fdname": "end"]) }
        #expect(throws: ClientError.self) { try qmp.execute("getfd", ["fdname": "x"], descriptor: 987_654) }
    }

    private func ready(_ file: borrowing FileDescriptor, within milliseconds: Int32) throws -> Bool {
        var entry = pollfd(fd: file.rawValue, events: 0, revents: 0)
        return unsafe poll(&entry, 1, milliseconds) == 1
    }

    @Test func nobodyListensInTheGuest() throws {
        let folder = try Folder()
        let machine = try Machine(
            Machine.idle, ["-device", "vhost-vsock-device,id=v,guest-cid=3,socket=\(folder.path("vsock"))"])
        _ = try machine.connect()
        #expect(throws: ClientError.self) {
            try Vsock.dial(socket: folder.path("vsock"), port: 5, of: machine.apus, timeout: .milliseconds(50))
        }
        machine.apus.kill()
        #expect(throws: ClientError.ended(.signal(SIGKILL))) {
            try Vsock.dial(socket: folder.path("vsock"), port: 5, of: machine.apus)
        }
    }

    /// The documentation's example is what the test compiles and runs.
    @Test func theExampleWorks() throws {
        let machine = try Machine()
        try machine.folder.write("disk", [UInt8](repeating: 0, count: 4096))
        let files = [machine.folder.path("kernel"), machine.folder.path("initrd"), machine.folder.path("disk")]
        let other = try Folder()
        let (apus, program) = (try builtProgram("apus"), try builtProgram("ExampleShim"))
        let outcome = try Outcome {
            try Apus.launch(arguments: [apus] + files + [other.path("")], program: program, standardOutput: $0)
        }
        #expect(outcome.ending == .ordinary)
        let said = outcome.output
        #expect(said.contains("vCPU 1 is thread ") && !said.contains("no disk"), "\(said)")
        #expect(said.hasSuffix("the machine ended: host-qmp-quit\napus ended: in good order\n"), "\(said)")
    }

    @Test func theDocumentationShowsTheExample() throws {
        let here = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        let top = here.dropLast(3).joined(separator: "/")
        let read = { (name: String) in
            String(decoding: try FileDescriptor.open("\(top)/\(name)", .readOnly).read(count: 1 << 20), as: UTF8.self)
        }
        let example = try read("Tests/ExampleShim/Shim.swift")
        #expect(example.split(separator: "\n", omittingEmptySubsequences: false).count <= 40)
        #expect(try read("Sources/apus/apus.docc/SwiftClient.md").contains("\n```swift\n\(example)```\n"))
    }
}
