import Host
import JSONText
import TestSupport
import Testing

@testable import Control

/// The tables say what is sent, and the schema says what the tables do.
@Suite struct SchemaTests {
    let machine = FakeMachine()

    private func answer(_ command: String, _ arguments: String = "{}") throws -> JSONValue {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        // For getfd and add-fd.
        session.receive(try FileDescriptor.open("/dev/null", [.readWrite]))
        let text = session.exchange(#"{"execute":"\#(command)","arguments":\#(arguments)}"#)
        return try JSONValue(parsing: text, limits: JSONLimits(bytes: 1 << 20))
    }

    /// Arguments for the commands that need some.
    private static let arguments = [
        "blockdev-add": #"{"node-name":"d","file":{"driver":"file","filename":"/d"}}"#,
        "blockdev-del": #"{"node-name":"d"}"#,
        "device_add": #"{"id":"d","driver":"virtio-blk-mmio"}"#,
        "device_del": #"{"id":"d"}"#,
        "object-add": #"{"qom-type":"iothread","id":"d"}"#,
        "object-del": #"{"id":"d"}"#,
        "block_resize": #"{"device":"d","size":1024}"#,
        "block_set_io_throttle": #"{"id":"d","iops":100}"#,
        "netdev_add": #"{"type":"tap","id":"d","ifname":"tap0"}"#,
        "netdev_del": #"{"id":"d"}"#,
        "set_link": #"{"name":"d","up":true}"#,
        "getfd": #"{"fdname":"d"}"#,
        "closefd": #"{"fdname":"d"}"#,
        "add-fd": #"{"fdset-id":1,"opaque":"d"}"#,
        "remove-fd": #"{"fdset-id":1}"#,
        "balloon": #"{"value":134217728}"#,
        "trace-get-state": #"{"name":"*"}"#,
        "human-monitor-command": #"{"command-line":"info snapshots"}"#,
        "device-list-properties": #"{"typename":"virtio-blk-device"}"#,
        "qom-list-properties": #"{"typename":"iothread"}"#,
        "query-stats": #"{"target":"device"}"#,
        "yank": #"{"instances":[{"type":"chardev","id":"agent"}]}"#,
    ]

    private static let failing = Set(Command.standardMachine.map(\.name))

    @Test(arguments: CommandTable.standard.commands.map(\.name).filter { !failing.contains($0) })
    func answersAreOfTheirType(name: String) throws {
        let command = try #require(CommandTable.standard[name])
        for architecture in Architecture.allCases {
            machine.architecture = architecture
            let answer = try answer(name, Self.arguments[name] ?? "{}")
            let value = try #require(answer["return"], "\(name): \(answer)")
            #expect(command.returns.objection(to: value, at: name) == nil)
        }
    }

    /// Each fails with a sentence that says why, once its arguments are right.
    @Test(arguments: Command.standardMachine.map(\.name))
    func whatNeedsAnotherMachineSaysSo(name: String) throws {
        let command = try #require(CommandTable.standard[name])
        var arguments = JSONObject()
        for argument in command.arguments { arguments.append(argument.name, Self.sample(of: argument.type)) }
        let error = try #require(try answer(name, JSONWriter.text(.object(arguments)))["error"])
        #expect(error["class"] == "GenericError")
        guard case .string(let text)? = error["desc"] else { throw QMPError("no text") }
        #expect(text.hasPrefix("\(name): this needs "))
        if let mandatory = command.arguments.first(where: { !$0.isOptional }) {
            let error = try answer(name)["error"]
            #expect(error?["desc"] == .string("\(name): argument '\(mandatory.name)' is missing"))
        }
    }

    @Test func eventsAreOfTheirType() throws {
        let events: [QMPEvent] = [
            .shutdown(guest: true, reason: "x"), .reset(guest: false), .stop, .resume, .powerdown, .guestPanicked,
            .guestCrashLoaded, .balloonChanged(actual: 1), .deviceDeleted("x"),
            .blockIOError(device: "d", node: "n", isRead: true, reason: "x", hasNoSpace: false),
        ]
        #expect(Set(events.map(\.name)).count == QMPEvent.Name.allCases.count)
        for event in events {
            #expect(QMPType.structure(event.name.members).objection(to: .object(event.data), at: "data") == nil)
        }
    }

    @Test func commandsHaveSentencesAndNoDoubles() {
        for command in CommandTable.standard.commands {
            #expect(command.summary.hasSuffix("."), "\(command.name)")
            #expect(Set(command.arguments.map(\.name)).count == command.arguments.count)
        }
    }

    @Test func allowsOutOfBandWhatQEMUDoes() {
        let names = CommandTable.standard.commands.filter(\.allowsOutOfBand).map(\.name)
        #expect(Set(names) == ["query-yank", "yank", "migrate-pause", "migrate-recover"])
    }

    // MARK: query-qmp-schema

    /// What it says, by name.
    private func schema() throws -> [String: JSONValue] {
        guard case .array(let entries)? = try answer("query-qmp-schema")["return"] else { throw QMPError("no schema") }
        var schema: [String: JSONValue] = [:]
        for entry in entries {
            guard case .string(let name)? = entry["name"] else { throw QMPError("no name") }
            #expect(schema[name] == nil, "\(name) is described twice")
            schema[name] = entry
        }
        return schema
    }

    /// Whatever an entry refers to is there, and is of the right kind.
    @Test func schemaIsSound() throws {
        let schema = try schema()
        func check(_ reference: JSONValue?, _ kinds: [JSONValue], _ entry: JSONValue) {
            guard case .string(let name)? = reference, let target = schema[name] else {
                Issue.record("\(entry) refers to what is not there")
                return
            }
            if !kinds.isEmpty { #expect(kinds.contains(target["meta-type"] ?? nil)) }
        }
        for entry in schema.values {
            switch entry["meta-type"] {
            case "command":
                check(entry["arg-type"], ["object"], entry)
                check(entry["ret-type"], ["builtin", "object", "array", "enum"], entry)
            case "event": check(entry["arg-type"], ["object"], entry)
            case "array": check(entry["element-type"], [], entry)
            case "object":
                guard case .array(let members)? = entry["members"] else { throw QMPError("no members: \(entry)") }
                for member in members { check(member["type"], ["builtin", "object", "array", "enum"], member) }
            case "enum":
                guard case .array(let values)? = entry["values"] else { throw QMPError("no values: \(entry)") }
                #expect(!values.isEmpty)
            case "builtin": #expect(entry["json-type"] != nil)
            default: Issue.record("\(entry)")
            }
        }
    }

    @Test func schemaHasEveryCommandAndEvent() throws {
        let schema = try schema()
        for command in CommandTable.standard.commands {
            let entry = try #require(schema[command.name])
            #expect(entry["meta-type"] == "command")
            #expect((entry["allow-oob"] == true) == command.allowsOutOfBand)
            guard case .string(let type)? = entry["arg-type"], case .array(let members)? = schema[type]?["members"]
            else { throw QMPError("no arguments: \(entry)") }
            #expect(members.map { $0["name"] } == command.arguments.map { .string($0.name) })
            #expect(members.map { $0["default"] == .null } == command.arguments.map(\.isOptional))
        }
        for event in QMPEvent.Name.allCases { #expect(schema[event.rawValue]?["meta-type"] == "event") }
    }

    @Test func schemaDescribesTypes() throws {
        let schema = try schema()
        func target(_ value: JSONValue?) throws -> JSONValue {
            guard case .string(let name)? = value else { throw QMPError("no reference") }
            return try #require(schema[name])
        }
        let status = try target(try #require(schema["query-status"])["ret-type"])
        guard case .array(let members)? = status["members"] else { throw QMPError("no members") }
        #expect(members.map { $0["name"] } == ["running", "singlestep", "status"])
        #expect(try target(members[0]["type"]) == ["name": "bool", "meta-type": "builtin", "json-type": "boolean"])
        let words = try target(members[2]["type"])
        #expect(words["values"] == ["running", "paused", "guest-panicked", "debug"])
        #expect(words["members"]?.kind == "an array")
    }

    private static func sample(of type: QMPType) -> JSONValue {
        switch type {
        case .any, .string: "x"
        case .boolean: true
        case .integer(let range): JSONValue(range.lowerBound)
        case .number: .number(1.5)
        case .choice(let words): .string(words[0])
        case .list: []
        case .structure: .emptyObject
        }
    }
}
