import ApusClient
import Host
import Sandbox
import TestSupport
import Testing

/// The seccomp filters of a running VM with an idle guest.
@Suite(.enabled(if: (try? FileDescriptor.open("/dev/kvm", .readWrite)) != nil))
struct FilteredMachineTests {
    @Test(arguments: [true, false])
    func eachThreadHasAFilterUnlessSeccompIsDisabled(_ usesSeccomp: Bool) throws {
        let folder = try ScratchFolder()
        try folder.write("kernel", [0xf4, 0xeb, 0xfd])  // hlt; jmp .
        try folder.write("initrd", [0])
        try folder.write("disk", [UInt8](repeating: 0, count: 4096))
        let arguments =
            [
                "-machine", "type=microvm", "-m", "128", "-smp", "2", "-kernel", folder.path("kernel"), "-initrd",
                folder.path("initrd"), "-qmp", "unix:\(folder.path("qmp")),server,nowait", "-daemonize", "-pidfile",
                folder.path("pid"), "-object", "iothread,id=io1", "-drive",
                "id=disk,direct=off,file=\(folder.path("disk"))", "-device",
                "virtio-blk-device,id=disk,drive=disk,iothread=io1", "-serial",
                "socket,path=\(folder.path("serial")),server,nowait",
            ] + (usesSeccomp ? [] : ["-disable-seccomp"])
        let program = try builtProgram("apus")
        let start = try Outcome { try Apus.launch(arguments: arguments, program: program, standardError: $0) }
        #expect(start.ending == .ordinary, "\(start.output)")
        let id = try #require(Int32(String(decoding: folder.read("pid"), as: UTF8.self)))
        let client = try QMP.connect(to: folder.path("qmp"))
        let threads = try filterModes(of: id)
        #expect(Set(threads.keys).isSuperset(of: ["apus", "io1", "CPU 0/KVM", "CPU 1/KVM"]))
        for (thread, mode) in threads { #expect(mode == (usesSeccomp ? "2" : "0"), "\(thread)") }

        // The filters allow every call of these operations.
        let serial = try Socket.connect(unix: folder.path("serial"))
        for command in ["query-cpus", "query-block", "stop", "cont", "stop", "cont"] {
            try client.execute(command)
        }
        #expect(throws: ClientError.self) { try client.execute("no-such-command") }
        try client.execute("quit")
        try client.wait(for: "SHUTDOWN")
        #expect(throws: ClientError.closed("QMP")) { while try client.nextEvent(timeout: .seconds(60)) != nil {} }
        _ = serial
        #expect(folder.remains(["kernel", "initrd", "disk"], ofProcess: id))
    }

    /// The seccomp modes of the process's threads, by thread name: 0 for none, 2 for a filter.
    private func filterModes(of process: Int32) throws -> [String: String] {
        var modes: [String: String] = [:]
        for thread in try names(in: "/proc/\(process)/task") {
            let status = try FileDescriptor.open("/proc/\(process)/task/\(thread)/status", .readOnly)
            let lines = String(decoding: try status.read(count: 65536), as: UTF8.self).split(separator: "\n")
            let value = { (key: String) in
                lines.first { $0.hasPrefix("\(key):\t") }.map { String($0.dropFirst(key.count + 2)) } ?? ""
            }
            modes[value("Name")] = value("Seccomp")
        }
        return modes
    }
}
