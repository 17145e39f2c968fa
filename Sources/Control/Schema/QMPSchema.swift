import JSONText

/// The whole protocol in QEMU's introspection format (`SchemaInfo` in its QAPI documentation): commands and events by
/// name, with the types they refer to. Types have numbers for names, as QEMU's have, since only their content counts.
struct QMPSchema {
    private var entries: [JSONValue] = []
    private var names: [QMPType: String] = [:]
    /// Types whose names say what they are.
    private var described: Set<String> = []

    /// What `query-qmp-schema` returns, made at its first use: it is long and never changes.
    static let text: [UInt8] = {
        var schema = QMPSchema()
        for command in CommandTable.standard.commands { schema.add(command) }
        for event in QMPEvent.Name.allCases { schema.add(event) }
        var text: [UInt8] = []
        JSONWriter.write(.array(schema.entries), to: &text)
        return text
    }()

    private mutating func add(_ command: Command) {
        let arguments = name(of: .structure(command.arguments))
        let result = name(of: command.returns)
        var entry: JSONObject = [
            "name": .string(command.name), "meta-type": "command", "arg-type": .string(arguments),
            "ret-type": .string(result),
        ]
        if command.allowsOutOfBand { entry.append("allow-oob", true) }
        entries.append(.object(entry))
    }

    private mutating func add(_ event: QMPEvent.Name) {
        let data = name(of: .structure(event.members))
        entries.append(["name": .string(event.rawValue), "meta-type": "event", "arg-type": .string(data)])
    }

    /// The name of a type, which is described first if it hasn't been.
    private mutating func name(of type: QMPType) -> String {
        switch type {
        case .any: return builtin("any", "value")
        case .string: return builtin("str", "string")
        case .boolean: return builtin("bool", "boolean")
        case .integer: return builtin("int", "int")
        case .number: return builtin("number", "number")
        case .choice(let words):
            return describe(type) { _ in
                [
                    "meta-type": "enum", "members": .array(words.map { ["name": .string($0)] }),
                    "values": .array(words.map { .string($0) }),
                ]
            }
        case .list(let element):
            let element = name(of: element)
            let name = "[\(element)]"
            if described.insert(name).inserted {
                entries.append(["name": .string(name), "meta-type": "array", "element-type": .string(element)])
            }
            return name
        case .object: return builtin("any", "value")
        case .structure(let members, _):
            return describe(type) { schema in
                ["meta-type": "object", "members": .array(members.map { schema.json($0) })]
            }
        }
    }

    private mutating func json(_ member: QMPMember) -> JSONValue {
        var json: JSONObject = ["name": .string(member.name), "type": .string(name(of: member.type))]
        // What says that it may be left out.
        if member.isOptional { json.append("default", nil) }
        return .object(json)
    }

    private mutating func builtin(_ name: String, _ kind: String) -> String {
        if described.insert(name).inserted {
            entries.append(["name": .string(name), "meta-type": "builtin", "json-type": .string(kind)])
        }
        return name
    }

    private mutating func describe(_ type: QMPType, _ members: (inout QMPSchema) -> JSONObject) -> String {
        if let known = names[type] { return known }
        let name = String(names.count)
        names[type] = name
        var entry: JSONObject = ["name": .string(name)]
        entry.members += members(&self).members
        entries.append(.object(entry))
        return name
    }
}
