import Control
import Host
import JSONText
import TestSupport

/// A client of the monitor that says anything, cut anywhere, while commands wait and events happen.
final class QMPFuzz: FuzzSubject {
    private let commands: [Command] = CommandTable.standard.commands
    private var machine = FakeMachine()
    private var session = QMPSession.forTest(FakeMachine())
    private var output: [UInt8] = []

    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        machine = FakeMachine()
        var limits = QMPSession.Limits()
        limits.input = input.pick([64 << 10, 64, 4096])
        limits.output = input.pick([256 << 10, 1, 4096])
        limits.events = input.pick([50, 1])
        limits.json.bytes = input.pick([64 << 10, 200])
        session = QMPSession.forTest(machine, limits: limits)
        output = []
        machine.defers = input.oneIn(2)
        if input.oneIn(4) { machine.refusal = QMPError("no") }
        var steps = 0
        while !input.isEmpty, steps < 100 {
            steps += 1
            try step(&input)
            try expect(session.inputRoom <= limits.input, "more room than there is")
        }
        try finish()
    }

    private func step(_ input: inout FuzzInput) throws {
        switch input.below(12) {
        case 0: if let file = try? FileDescriptor.memory(name: "fuzz") { session.receive(file) }
        case 1: output += session.takeOutput()
        case 2: session.post(.stop, at: QMPEvent.Timestamp(seconds: 1, microseconds: 2))
        case 3 where !machine.replies.isEmpty:
            let reply = machine.replies.remove(at: input.below(machine.replies.count))
            switch input.below(4) {
            case 0: reply.fail(QMPError("it failed"))
            case 1: break
            default: reply.succeed()
            }
        case 4: machine.defers.toggle()
        case 5, 6: session.receive(input.take(1 + input.below(64)).span)
        case 7: session.receive([0xff].span)
        default:
            session.receive(Array(command(&input).utf8).span)
            if input.oneIn(2) { session.receive([0x0a].span) }
        }
        _ = session.process(atMost: input.below(4))
    }

    /// What was sent must be whole lines of JSON, and the session still works.
    private func finish() throws {
        machine.defers = false
        machine.refusal = nil
        drain()
        session.receive([0xff, 0x0a].span)
        drain()
        try expect(!session.isBusy, "a command is unfinished")
        for line in output.split(separator: 0x0a) {
            let text = String(decoding: line, as: UTF8.self)
            let answer = try? JSONValue(parsing: text, limits: JSONLimits(bytes: 1 << 24, depth: 80))
            try expect(
                ["return", "error", "event", "QMP"].contains { answer?[$0] != nil }, "an answer that is none: \(text)")
        }
        output = []
        session.receive(Array(#"{"execute":"query-kvm","id":"last"}"#.utf8).span)
        drain()
        let answer = String(decoding: output, as: UTF8.self)
        try expect(answer.contains(#""id":"last"}"#), "no answer after all: \(answer)")
    }

    /// Reads and answers everything, as a client and a machine that take their time.
    private func drain() {
        for _ in 0..<10_000 {
            for reply in machine.replies { reply.succeed() }
            machine.replies = []
            let goesOn = session.process(atMost: 16)
            let news = session.takeOutput()
            output += news
            if !goesOn, news.isEmpty, machine.replies.isEmpty { break }
        }
    }

    // MARK: Commands

    private func command(_ input: inout FuzzInput) -> String {
        let command = commands[input.below(commands.count)]
        var text = input.oneIn(16) ? #"{"exec-oob":"\#(command.name)""# : #"{"execute":"\#(command.name)""#
        if !input.oneIn(4) { text += #","arguments":"# + arguments(of: command, &input) }
        if input.oneIn(4) { text += #","id":"# + Self.value(&input, depth: 3) }
        return text + (input.oneIn(32) ? "" : "}")
    }

    private func arguments(of command: Command, _ input: inout FuzzInput) -> String {
        let known = command.arguments.map(\.name)
        let names = known.isEmpty || input.oneIn(8) ? Self.names : known
        let members = (0..<input.below(6)).map { _ in "\"\(input.pick(names))\":" + Self.value(&input, depth: 0) }
        return "{" + members.joined(separator: ",") + "}"
    }

    private static let names = [
        "id", "driver", "enable", "device", "drive", "chardev", "node-name", "file", "filename", "read-only", "cache",
        "direct", "type", "netdev", "mac", "bus", "addr", "fdname", "size", "value", "property", "path", "qom-type",
        "data", "backend", "mem-path", "iothread", "serial", "name", "up", "instances", "typename", "fds", "ifname",
    ]

    private static let strings = [
        "", "disk1", "virtio-blk-device", "virtio-net-device", "virtio-blk-mmio", "virtio-net-mmio", "on", "off", "tap",
        "vhost-user", "/img", "file", "oob", "socket", "unix", "52:54:00:00:00:01", "iothread", "memory-backend-ram",
        "x", "0x1", "1G", "blk0", "rootfs", "serial0", "agent", "/machine", "a,b=c", "é\\u0000",
    ]

    private static func value(_ input: inout FuzzInput, depth: Int) -> String {
        switch input.below(depth < 3 ? 10 : 8) {
        case 0...3: "\"\(input.pick(strings))\""
        case 4: String(input.integer(Int16.self))
        case 5: input.pick(["0", "-1", "18446744073709551615", "9223372036854775808", "1e3", "1.5", "-0"])
        case 6: input.pick(["true", "false"])
        case 7: "null"
        case 8: "[" + (0..<input.below(3)).map { _ in value(&input, depth: depth + 1) }.joined(separator: ",") + "]"
        default:
            "{"
                + (0..<input.below(3)).map { _ in "\"\(input.pick(names))\":" + value(&input, depth: depth + 1) }
                .joined(separator: ",") + "}"
        }
    }
}
