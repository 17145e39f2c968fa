import JSONText
import TestSupport
import Testing

@testable import Control

@Suite struct ObjectModelTests {
    let machine = FakeMachine()

    private func ask(_ command: String, _ arguments: String = "{}") throws -> JSONValue {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        return try JSONValue(parsing: session.exchange(#"{"execute":"\#(command)","arguments":\#(arguments)}"#))
    }

    private func names(_ answer: JSONValue) throws -> [String] {
        guard case .array(let entries)? = answer["return"] else { throw QMPError("\(answer)") }
        return entries.compactMap { if case .string(let name)? = $0["name"] { name } else { nil } }
    }

    @Test func listsTypes() throws {
        let all = try names(try ask("qom-list-types"))
        #expect(Set(all).isSuperset(of: ["virtio-blk-device", "virtconsole", "iothread", "microvm-machine"]))
        #expect(!all.contains("device"))
        let virtio = try names(try ask("qom-list-types", #"{"implements":"virtio-device"}"#))
        #expect(virtio.contains("virtio-blk-device") && !virtio.contains("virtconsole") && !virtio.contains("iothread"))
        let ports = try names(try ask("qom-list-types", #"{"implements":"virtserialport"}"#))
        #expect(ports == ["virtconsole", "virtserialport"])
        let roots = try ask("qom-list-types", #"{"implements":"object","abstract":true}"#)
        #expect(try names(roots).first == "object")
        #expect(try names(try ask("qom-list-types", #"{"implements":"nothing"}"#)) == [])
    }

    @Test(arguments: ["virtio-blk-device", "virtio-blk-mmio"])
    func listsProperties(type: String) throws {
        let answer = try ask("device-list-properties", #"{"typename":"\#(type)"}"#)
        guard case .array(let properties)? = answer["return"] else { throw QMPError("\(answer)") }
        let queueSize: JSONValue = [
            "name": "queue-size", "type": "uint16", "description": "entries in a queue, 4 to 1024",
            "default-value": 256,
        ]
        #expect(properties.contains(queueSize))
        #expect(properties.contains { $0["name"] == "num-queues" && $0["type"] == "uint16" })
        #expect(properties.contains { $0["name"] == "drive" && $0["type"] == "str" })
    }

    @Test func knowsTheTypesOfProperties() throws {
        let machine = try ask("qom-list-properties", #"{"typename":"microvm-machine"}"#)
        guard case .array(let properties)? = machine["return"] else { throw QMPError("\(machine)") }
        #expect(
            properties.contains { $0["name"] == "mem-share" && $0["type"] == "bool" && $0["default-value"] == false })
    }

    @Test(arguments: [
        ("device-list-properties", "iothread", "Device 'iothread' not found"),
        ("device-list-properties", "virtio-blk-pci", "Device 'virtio-blk-pci' not found"),
        ("qom-list-properties", "nothing", "Class 'nothing' not found"),
    ])
    func refusesUnknownTypes(command: String, type: String, text: String) throws {
        let error = try ask(command, #"{"typename":"\#(type)"}"#)["error"]
        #expect(error == ["class": "DeviceNotFound", "desc": .string(text)])
    }

    @Test(arguments: [
        ("/", ["type", "machine", "objects"]),
        ("/machine/", ["type", "peripheral", "unattached"]),
        ("/machine/peripheral", ["type", "blk0"]),
        ("/machine/unattached", ["type", "device[0]", "device[1]"]),
        ("/objects", ["type", "io1"]),
        ("/objects/io1", ["type"]),
        ("/nowhere", []),
        ("/machine/peripheral/blk0/more", []),
    ])
    func listsPlaces(path: String, children: [String]) throws {
        #expect(try names(try ask("qom-list", #"{"path":"\#(path)"}"#)) == children)
    }

    @Test func tellsTheTypeOfAPlace() throws {
        let type = try ask("qom-get", #"{"path":"/machine/peripheral/blk0","property":"type"}"#)
        #expect(type == ["return": "virtio-blk-device"])
        #expect(try ask("qom-get", #"{"path":"/machine/peripheral/blk0","property":"x"}"#) == ["return": []])
        #expect(try ask("qom-get", #"{"path":"/nowhere","property":"type"}"#) == ["return": []])
        #expect(try ask("qom-get") == ["return": []])
    }

    @Test func listsOptions() throws {
        let drive = try ask("query-command-line-options", #"{"option":"drive"}"#)
        guard case .array(let options)? = drive["return"], options.count == 1,
            case .array(let parameters)? = options[0]["parameters"]
        else { throw QMPError("\(drive)") }
        #expect(parameters.contains { $0["name"] == "discard" && $0["type"] == "boolean" && $0["default"] == "ignore" })
        #expect(parameters.contains { $0["name"] == "detect-zeroes" && $0["type"] == "string" })
        guard case .array(let all)? = try ask("query-command-line-options")["return"] else { throw QMPError("none") }
        for option in ["drive", "chardev", "machine", "smp"] {
            #expect(all.contains { $0["option"] == .string(option) })
        }
    }
}
