import Host
import JSONText
import TestSupport
import Testing

@testable import Control

@Suite struct CommandTests {
    let machine = FakeMachine()

    private func answer(_ command: String) -> String {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        return session.exchange(#"{"execute":"\#(command)"}"#)
    }

    @Test(arguments: queries)
    func answers(command: String, value: String) {
        #expect(answer(command) == #"{"return":\#(value)}"# + "\r\n")
        #expect(machine.calls.isEmpty)
    }

    /// Every command that only reads, with its answer to the byte.
    private static let queries: [(String, String)] = [
        ("query-status", #"{"singlestep":false,"running":true,"status":"running"}"#),
        ("query-version", #"{"qemu":{"micro":1,"minor":0,"major":5},"package":"apus-0.1.0"}"#),
        ("query-name", #"{"name":"vm"}"#),
        ("query-uuid", #"{"UUID":"11111111-2222-3333-4444-555555555555"}"#),
        ("query-target", #"{"arch":"x86_64"}"#),
        ("query-kvm", #"{"enabled":true,"present":true}"#),
        (
            "query-machines",
            #"""
            [{"hotpluggable-cpus":false,"name":"microvm","numa-mem-supported":false,"cpu-max":254,\#
            "deprecated":false}]
            """#
        ),
        (
            "query-events",
            #"""
            [{"name":"SHUTDOWN"},{"name":"RESET"},{"name":"STOP"},{"name":"RESUME"},{"name":"POWERDOWN"},\#
            {"name":"GUEST_PANICKED"},{"name":"GUEST_CRASHLOADED"},{"name":"BALLOON_CHANGED"},\#
            {"name":"DEVICE_DELETED"},{"name":"BLOCK_IO_ERROR"}]
            """#
        ),
        ("query-memory-size-summary", #"{"base-memory":268435456,"plugged-memory":0}"#),
        ("query-fdsets", #"[{"fdset-id":2,"fds":[{"fd":7,"opaque":"rdwr:/img/a"},{"fd":9}]}]"#),
        ("query-yank", #"[{"type":"chardev","id":"agent"}]"#),
        ("query-migrate", #"{"status":"setup"}"#),
        ("query-sev-capabilities", "{}"),
        ("migrate_cancel", "{}"),
        (
            "query-blockstats",
            #"""
            [{"node-name":"rootfs","stats":{"rd_operations":0,"wr_operations":1,"flush_operations":2,\#
            "unmap_operations":3,"rd_bytes":4,"wr_bytes":5,"failed_rd_operations":6,"failed_wr_operations":7,\#
            "failed_flush_operations":8,"failed_unmap_operations":9,"invalid_operations":10},\#
            "device":"rootfs","qdev":"blk0"}]
            """#
        ),
        (
            "query-cpus",
            #"""
            [{"arch":"x86","current":true,"qom_path":"/machine/unattached/device[0]","halted":false,\#
            "props":{"socket-id":0,"die_id":0,"thread-id":0,"core-id":0},"CPU":0,"thread_id":100},\#
            {"arch":"x86","current":true,"qom_path":"/machine/unattached/device[1]","halted":false,\#
            "props":{"socket-id":0,"die_id":0,"thread-id":0,"core-id":1},"CPU":1,"thread_id":101}]
            """#
        ),
        (
            "query-cpus-fast",
            #"""
            [{"thread-id":100,"props":{"socket-id":0,"die-id":0,"thread-id":0,"core-id":0},\#
            "qom-path":"/machine/unattached/device[0]","cpu-index":0,"target":"x86_64"},\#
            {"thread-id":101,"props":{"socket-id":0,"die-id":0,"thread-id":0,"core-id":1},\#
            "qom-path":"/machine/unattached/device[1]","cpu-index":1,"target":"x86_64"}]
            """#
        ),
        (
            "query-hotpluggable-cpus",
            #"""
            [{"type":"host-x86-cpu","vcpus-count":1,\#
            "props":{"socket-id":0,"die_id":0,"thread-id":0,"core-id":0},\#
            "qom-path":"/machine/unattached/device[0]"},\#
            {"type":"host-x86-cpu","vcpus-count":1,\#
            "props":{"socket-id":0,"die_id":0,"thread-id":0,"core-id":1},\#
            "qom-path":"/machine/unattached/device[1]"}]
            """#
        ),
        ("query-iothreads", #"[{"poll-shrink":0,"thread-id":200,"poll-grow":0,"poll-max-ns":0,"id":"io1"}]"#),
        (
            "query-chardev",
            #"""
            [{"frontend-open":true,"filename":"pty:/dev/pts/3","label":"serial0"},\#
            {"frontend-open":false,"filename":"unix:/run/agent","label":"agent"}]
            """#
        ),
        (
            "query-block",
            #"""
            [{"device":"rootfs","qdev":"blk0","locked":false,"removable":false,"type":"unknown",\#
            "inserted":\#(node)}]
            """#
        ),
        ("query-named-block-nodes", "[\(node)]"),
        ("query-block-jobs", "[]"),
        ("query-balloon", #"{"actual":268435456}"#),
        ("query-tpm-models", "[]"),
        ("query-tpm-types", "[]"),
        ("query-migrate-capabilities", "[]"),
        ("query-gic-capabilities", "[]"),
    ]

    private static let node = #"""
        {"node-name":"rootfs","file":"/img/root.ext4","drv":"raw","ro":true,"encrypted":false,\#
        "backing_file_depth":0,"bps":0,"bps_rd":0,"bps_wr":0,"iops":500,"iops_rd":0,"iops_wr":0,\#
        "detect_zeroes":"off","write_threshold":0,\#
        "cache":{"writeback":true,"direct":false,"no-flush":false},\#
        "image":{"filename":"/img/root.ext4","format":"raw","virtual-size":1073741824}}
        """#

    @Test(arguments: [
        (RunStatus.running, "running", true), (.paused, "paused", false), (.other, "debug", false),
        (.guestPanicked, "guest-panicked", true),
    ])
    func tellsTheStatus(status: RunStatus, word: String, runs: Bool) {
        machine.status = status
        let text = #"{"singlestep":false,"running":\#(runs),"status":"\#(word)"}"#
        #expect(answer("query-status") == #"{"return":\#(text)}"# + "\r\n")
    }

    @Test func knowsNamelessMachines() {
        machine.name = nil
        machine.uuid = nil
        #expect(answer("query-name") == "{\"return\":{}}\r\n")
        #expect(answer("query-uuid") == #"{"return":{"UUID":"00000000-0000-0000-0000-000000000000"}}"# + "\r\n")
    }

    @Test func namesTheLevelsOfAArch64() {
        machine.architecture = .aarch64
        machine.cpus = [CPUInfo(index: 0, threadID: 7)]
        #expect(answer("query-cpus").contains(#""arch":"arm""#))
        #expect(answer("query-cpus").contains(#""cluster_id":0"#))
        #expect(answer("query-target") == #"{"return":{"arch":"aarch64"}}"# + "\r\n")
    }

    @Test(arguments: ["stop", "cont", "quit", "system_powerdown", "system_reset"])
    func drives(command: String) {
        #expect(answer(command) == "{\"return\":{}}\r\n")
        #expect(machine.calls == [command])
    }

    @Test(arguments: ["system_powerdown", "system_reset"])
    func passesOnRefusals(command: String) {
        machine.refusal = QMPError("not now", class: .deviceNotActive)
        #expect(answer(command) == #"{"error":{"class":"DeviceNotActive","desc":"not now"}}"# + "\r\n")
    }

    @Test func listsEveryCommand() throws {
        let names = CommandTable.standard.commands.map(\.name)
        #expect(Set(names).count == names.count)
        let listed = "[" + names.map { #"{"name":"\#($0)"}"# }.joined(separator: ",") + "]"
        #expect(answer("query-commands") == #"{"return":\#(listed)}"# + "\r\n")
    }

    @Test(arguments: [
        (#"{"target":"device"}"#, nil),
        (#"{"target":"device","devices":["blk0","other"]}"#, nil),
        (#"{"target":"device","devices":["other"]}"#, []),
        (#"{"target":"device","providers":[{"provider":"apus"}]}"#, nil),
        (#"{"target":"device","providers":[{"provider":"apus","names":["rd_bytes"]}]}"#, ["rd_bytes"]),
        (#"{"target":"device","providers":[]}"#, []),
    ])
    func tellsTheCountersThatAreAskedFor(arguments: String, names: [String]?) throws {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        let answer = try JSONValue(
            parsing: session.exchange(#"{"execute":"query-stats","arguments":\#(arguments)}"#))
        guard case .array(let devices)? = answer["return"] else { throw QMPError("no answer") }
        var found: [String] = []
        for device in devices {
            #expect(device["qom-path"] == "/machine/peripheral/blk0")
            guard case .array(let stats)? = device["stats"] else { continue }
            for case .string(let name)? in stats.map({ $0["name"] }) { found.append(name) }
        }
        #expect(found == names ?? machine.counters[0].counters.map(\.name))
    }

    @Test func describesTheCounters() {
        machine.counters[0].counters.removeSubrange(1..<5)
        machine.counters[0].counters.removeSubrange(2...)
        let text = #"""
            [{"provider":"apus","target":"device","stats":\#
            [{"name":"rd_operations","type":"cumulative","exponent":0},\#
            {"name":"wr_bytes","type":"cumulative","unit":"bytes","exponent":0}]}]
            """#
        #expect(answer("query-stats-schemas") == #"{"return":\#(text)}"# + "\r\n")
    }

    // MARK: Descriptors

    /// Each with the last descriptor that came before it; it is the command's only once.
    @Test(arguments: [
        ("getfd", #"{"fdname":"a"}"#, "getfd a", "Invalid SCM message: no descriptor came with the command"),
        ("add-fd", "{}", "add-fd - -", "No file descriptor supplied via SCM_RIGHTS"),
        ("add-fd", #"{"fdset-id":3,"opaque":"x"}"#, "add-fd 3 x", "No file descriptor supplied via SCM_RIGHTS"),
    ])
    func takesADescriptor(command: String, arguments: String, call: String, missing: String) throws {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        session.receive(try FileDescriptor.open("/dev/null", [.readWrite]))
        let text = #"{"execute":"\#(command)","arguments":\#(arguments)}"#
        #expect(session.exchange(text).hasPrefix(#"{"return":{"#))
        #expect(machine.calls == [call])
        #expect(session.exchange(text).contains("\(command): \(missing)"))
        #expect(machine.calls == [call])
    }

    @Test(arguments: [
        ("add-fd", #"{"fdset-id":-1}"#, "argument 'fdset-id' must be an integer from 0 to"),
        ("add-fd", #"{"fdset-id":"0"}"#, "argument 'fdset-id' must be an integer from 0 to"),
        ("remove-fd", "{}", "argument 'fdset-id' is missing"),
        ("remove-fd", #"{"fdset-id":0,"fd":-3}"#, "argument 'fd' must be an integer from 0 to"),
    ])
    func refusesDescriptorArguments(command: String, arguments: String, reason: String) throws {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        session.receive(try FileDescriptor.open("/dev/null", [.readWrite]))
        let answer = session.exchange(#"{"execute":"\#(command)","arguments":\#(arguments)}"#)
        #expect(answer.contains("\(command): \(reason)"), "\(answer)")
        #expect(machine.calls.isEmpty)
    }

    @Test(arguments: [("", "remove-fd 4 -"), (#","fd":7"#, "remove-fd 4 7")])
    func removesDescriptors(one: String, call: String) {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        let answer = session.exchange(#"{"execute":"remove-fd","arguments":{"fdset-id":4\#(one)}}"#)
        #expect(answer == #"{"return":{}}"# + "\r\n")
        #expect(machine.calls == [call])
    }

    // MARK: Arguments

    private let command = Command(
        "try", "Takes everything.",
        arguments: [
            .init("text", .string), .init("flag", .boolean, optional: true),
            .init("count", .integer(1...8), optional: true), .init("list", .array, optional: true),
            .init("nest", .object, optional: true), .init("word", .choice(["a", "b"]), optional: true),
            .init("words", .list(of: .string), optional: true),
            .init("deep", .structure([.init("x", .structure([.init("y", .number)]))]), optional: true),
        ]
    ) { _ in .done(.emptyObject) }

    private func check(_ text: String, _ command: Command) throws -> CommandArguments {
        guard case .object(let object) = try JSONValue(parsing: text) else { throw QMPError("no object") }
        return try CommandArguments(object, for: command)
    }

    @Test func decodesArguments() throws {
        let arguments = try check(#"{"text":"a","flag":true,"count":8,"list":[1],"nest":{"x":1}}"#, command)
        #expect(arguments.string("text") == "a")
        #expect(arguments.boolean("flag") == true)
        #expect(arguments.integer("count") == 8)
        #expect(arguments.array("list") == [1])
        #expect(arguments.object("nest") == ["x": 1])
        let few = try check(#"{"text":""}"#, command)
        #expect(few.boolean("flag") == nil && few.integer("count") == nil && few.array("list") == nil)
        #expect(few.object("nest") == nil && few.string("other") == nil)
    }

    @Test(arguments: [
        ("{}", "try: argument 'text' is missing"),
        (#"{"text":1}"#, "try: argument 'text' must be a string, not a number"),
        (#"{"text":"a\u0000b"}"#, "try: argument 'text' contains a NUL character"),
        (#"{"text":"","flag":"on"}"#, "try: argument 'flag' must be a boolean, not a string"),
        (#"{"text":"","count":0}"#, "try: argument 'count' must be an integer from 1 to 8"),
        (#"{"text":"","count":-1}"#, "try: argument 'count' must be an integer from 1 to 8"),
        (#"{"text":"","count":18446744073709551615}"#, "try: argument 'count' must be an integer from 1 to 8"),
        (#"{"text":"","count":1.5}"#, "try: argument 'count' must be an integer from 1 to 8, not a number"),
        (#"{"text":"","list":{}}"#, "try: argument 'list' must be an array, not an object"),
        (#"{"text":"","nest":null}"#, "try: argument 'nest' must be an object, not null"),
        (#"{"text":"","more":1}"#, "try: unknown argument 'more'"),
        (#"{"text":"","word":"c"}"#, "try: argument 'word' must be one of 'a', 'b'"),
        (#"{"text":"","word":1}"#, "try: argument 'word' must be one of 'a', 'b', not a number"),
        (#"{"text":"","words":["a",1]}"#, "try: argument 'words[1]' must be a string, not a number"),
        (#"{"text":"","deep":{}}"#, "try: argument 'deep.x' is missing"),
        (#"{"text":"","deep":{"x":{"y":"1"}}}"#, "try: argument 'deep.x.y' must be a number, not a string"),
        (#"{"text":"","deep":{"x":{"y":1.5,"z":1}}}"#, "try: unknown argument 'deep.x.z'"),
    ])
    func refusesArguments(text: String, because reason: String) {
        #expect(throws: QMPError(reason)) { try check(text, command) }
    }

    @Test func toleratesUnknownArgumentsWhereToldTo() throws {
        let tolerant = Command("try", "", toleratesUnknown: true) { _ in .done(.emptyObject) }
        #expect(throws: Never.self) { try check(#"{"romfile":""}"#, tolerant) }
    }
}
