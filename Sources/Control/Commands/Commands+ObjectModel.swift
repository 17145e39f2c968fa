import JSONText
import Options

extension Command {
    /// What there is, by type, by place, and by option; all of it from the tables that read the command line.
    static let objectModel: [Command] = [
        Command(
            "qom-list-types", "The types of devices and objects.",
            arguments: [
                Argument("implements", .string, "only kinds of this type", optional: true),
                Argument("abstract", .boolean, "types that only group others as well", optional: true),
            ],
            returns: .list(
                of: .structure([
                    QMPMember("name", .string), QMPMember("parent", .string, optional: true),
                    QMPMember("abstract", .boolean, optional: true),
                ]))
        ) { call in
            let catalog = TypeCatalog()
            let ancestor = call.arguments.string("implements")
            let types = catalog.types.filter { type in
                (call.arguments.boolean("abstract") == true || !type.isAbstract)
                    && (ancestor.map { catalog.isKind(type, of: $0) } ?? true)
            }
            return .done(.array(types.map(\.json)))
        },
        .immediate(
            "device-list-properties", "The properties that `device_add` takes for a type.",
            arguments: [Argument("typename", .string)], returns: .list(of: KeyDescription.qmpType)
        ) { call throws(QMPError) in
            let name = call.arguments.string("typename") ?? ""
            let catalog = TypeCatalog()
            guard let type = catalog[name], catalog.isKind(type, of: "device") else {
                throw QMPError("Device '\(name)' not found", class: .deviceNotFound)
            }
            return .array(type.keys.map(\.json))
        },
        .immediate(
            "qom-list-properties", "The properties of a type of device or object.",
            arguments: [Argument("typename", .string)], returns: .list(of: KeyDescription.qmpType)
        ) { call throws(QMPError) in
            let name = call.arguments.string("typename") ?? ""
            guard let type = TypeCatalog()[name] else {
                throw QMPError("Class '\(name)' not found", class: .deviceNotFound)
            }
            return .array(type.keys.map(\.json))
        },
        Command(
            "qom-list", "What is at a place in the tree of objects; nothing where there is no such place.",
            arguments: [Argument("path", .string, "`/` if not given", optional: true)],
            returns: .list(of: .structure([QMPMember("name", .string), QMPMember("type", .string)]))
        ) { call in
            .done(ObjectNode.root(of: call.machine).descendant(call.arguments.string("path") ?? "/")?.list ?? [])
        },
        Command(
            "qom-get", "A property of the object at a place; an empty array where there is no such thing.",
            arguments: [Argument("path", .string, optional: true), Argument("property", .string, optional: true)],
            returns: .any
        ) { call in
            let node = ObjectNode.root(of: call.machine).descendant(call.arguments.string("path") ?? "/")
            guard call.arguments.string("property") == "type", let node else { return .done([]) }
            return .done(.string(node.type))
        },
        Command(
            "query-command-line-options", "The options of the command line that have keys, or one of them.",
            arguments: [Argument("option", .string, "its name without the dash", optional: true)],
            returns: .list(
                of: .structure([
                    QMPMember("option", .string),
                    QMPMember("parameters", .list(of: OptionParameters.parameterType)),
                ]))
        ) { call in
            let wanted = call.arguments.string("option")
            return .done(
                .array(OptionParameters.all.filter { wanted == nil || $0.option == wanted }.map(\.json)))
        },
    ]
}

extension TypeDescription {
    fileprivate var json: JSONValue {
        var json: JSONObject = ["name": .string(name)]
        if let parent { json.append("parent", .string(parent)) }
        if isAbstract { json.append("abstract", true) }
        return .object(json)
    }
}

extension KeyDescription {
    fileprivate static let qmpType = QMPType.structure([
        QMPMember("name", .string), QMPMember("type", .string), QMPMember("description", .string, optional: true),
        QMPMember("default-value", .any, optional: true),
    ])

    fileprivate var json: JSONValue {
        var json: JSONObject = ["name": .string(name), "type": .string(type), "description": .string(summary)]
        if let standard { json.append("default-value", standard) }
        return .object(json)
    }

    /// What holds if the key is not given, as a value of its type.
    private var standard: JSONValue? {
        guard case .standard(let text) = presence else { return nil }
        if type == "bool" { return .bool(["on", "true", "yes"].contains(text)) }
        return Int64(text).map { .integer($0) } ?? .string(text)
    }
}

extension OptionParameters {
    fileprivate static let parameterType = QMPType.structure([
        QMPMember("name", .string), QMPMember("type", .choice(["string", "boolean", "number", "size"])),
        QMPMember("help", .string, optional: true), QMPMember("default", .string, optional: true),
    ])

    fileprivate var json: JSONValue {
        let parameters = keys.map { key -> JSONValue in
            var json: JSONObject = [
                "name": .string(key.name), "help": .string(key.summary), "type": .string(Self.kind(of: key)),
            ]
            if case .standard(let text) = key.presence { json.append("default", .string(text)) }
            return .object(json)
        }
        return ["option": .string(option), "parameters": .array(parameters)]
    }

    private static func kind(of key: KeyDescription) -> String {
        switch key.type {
        case "bool": "boolean"
        case "size": "size"
        case "str": "string"
        default: "number"
        }
    }
}

/// A place in the tree of objects.
private struct ObjectNode {
    let name: String
    let type: String
    var children: [ObjectNode] = []

    /// What is there, as `qom-list` has it.
    var list: JSONValue {
        .array(
            [["name": "type", "type": "string"]]
                + children.map { ["name": .string($0.name), "type": .string("child<\($0.type)>")] })
    }

    /// The node that `path` leads to from here.
    func descendant(_ path: String) -> ObjectNode? {
        var node = self
        for step in path.split(separator: "/") {
            guard let child = node.children.first(where: { $0.name == step }) else { return nil }
            node = child
        }
        return node
    }

    static func root(of machine: any MachineControl) -> ObjectNode {
        let processors = machine.cpus.map { ObjectNode(name: "device[\($0.index)]", type: "host-x86-cpu") }
        let devices = machine.devices.map { ObjectNode(name: $0.id, type: $0.type) }
        let objects = machine.objects.map { ObjectNode(name: $0.id, type: $0.type) }
        return ObjectNode(
            name: "", type: "container",
            children: [
                ObjectNode(
                    name: "machine", type: "microvm-machine",
                    children: [
                        ObjectNode(name: "peripheral", type: "container", children: devices),
                        ObjectNode(name: "unattached", type: "container", children: processors),
                    ]),
                ObjectNode(name: "objects", type: "container", children: objects),
            ])
    }
}
