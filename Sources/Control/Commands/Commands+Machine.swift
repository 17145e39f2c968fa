import JSONText

extension Command {
    /// Queries about the machine and its CPUs.
    static let machineQueries: [Command] = [
        .query(
            "query-name", "The machine's name, if it has one.",
            returns: .structure([QMPMember("name", .string, optional: true)])
        ) { machine in
            machine.name.map { ["name": .string($0)] } ?? .emptyObject
        },
        .query(
            "query-uuid", "The machine's UUID; all zero if it has none.",
            returns: .structure([QMPMember("UUID", .string)])
        ) { machine in
            ["UUID": .string(machine.uuid ?? "00000000-0000-0000-0000-000000000000")]
        },
        .query(
            "query-target", "The guest's architecture.",
            returns: .structure([QMPMember("arch", .choice(Architecture.allCases.map(\.rawValue)))])
        ) { ["arch": .string($0.architecture.rawValue)] },
        .constant(
            "query-kvm", "Whether KVM is there and in use.",
            returns: .structure([QMPMember("enabled", .boolean), QMPMember("present", .boolean)]),
            ["enabled": true, "present": true]),
        .query(
            "query-machines", "The machine types that can be started.", returns: .list(of: MachineType.type)
        ) { .array($0.machineTypes.map(\.json)) },
        .query(
            "query-memory-size-summary", "Bytes of memory the machine has, and of those what was plugged in later.",
            returns: .structure([
                QMPMember("base-memory", .natural), QMPMember("plugged-memory", .natural, optional: true),
            ])
        ) { ["base-memory": JSONValue($0.memorySize), "plugged-memory": 0] },
        Command("query-mem", "Write what is where in the guest's address space into the log.") { call in
            call.machine.logAddressSpace(call.reply)
            return .later
        },
        .query(
            "query-cpus", "The vCPUs with their threads, as StratoVirt reports them.", returns: .list(of: CPUInfo.type)
        ) { machine in .array(machine.cpus.map { $0.json(on: machine.architecture) }) },
        .query(
            "query-cpus-fast", "The vCPUs with their threads, as QEMU reports them.",
            returns: .list(of: CPUInfo.fastType)
        ) { machine in .array(machine.cpus.map { $0.fastJSON(on: machine.architecture) }) },
        .query(
            "query-hotpluggable-cpus", "The slots for vCPUs, all of them taken.", returns: .list(of: CPUInfo.slotType)
        ) { machine in .array(machine.cpus.map { $0.slotJSON(on: machine.architecture) }) },
        .query("query-iothreads", "The iothreads with their threads.", returns: .list(of: IOThreadInfo.type)) {
            .array($0.ioThreads.map(\.json))
        },
        .query("query-chardev", "The character devices.", returns: .list(of: CharacterDeviceInfo.type)) {
            .array($0.characterDevices.map(\.json))
        },
    ]
}

extension Architecture {
    /// The name in the queries that StratoVirt shortens it in.
    fileprivate var shortName: String {
        switch self {
        case .x86_64: "x86"
        case .aarch64: "arm"
        }
    }
}

extension MachineType {
    fileprivate static let type = QMPType.structure([
        QMPMember("name", .string), QMPMember("cpu-max", .natural), QMPMember("hotpluggable-cpus", .boolean),
        QMPMember("numa-mem-supported", .boolean), QMPMember("deprecated", .boolean),
    ])

    fileprivate var json: JSONValue {
        [
            "hotpluggable-cpus": false, "name": .string(name), "numa-mem-supported": false,
            "cpu-max": JSONValue(maximumCPUs), "deprecated": false,
        ]
    }
}

extension CPUInfo {
    private var path: JSONValue { .string("/machine/unattached/device[\(index)]") }

    /// The place of the CPU. StratoVirt writes the middle level's name with an underscore, QEMU with a dash.
    private func properties(_ architecture: Architecture, separator: String) -> JSONValue {
        let middle = architecture == .x86_64 ? "die" : "cluster"
        return .object([
            "socket-id": JSONValue(socket), "\(middle)\(separator)id": JSONValue(die), "thread-id": JSONValue(thread),
            "core-id": JSONValue(core),
        ])
    }

    private static func properties(separator: String) -> QMPMember {
        QMPMember(
            "props",
            .structure([
                QMPMember("socket-id", .natural), QMPMember("die\(separator)id", .natural, optional: true),
                QMPMember("cluster\(separator)id", .natural, optional: true), QMPMember("core-id", .natural),
                QMPMember("thread-id", .natural),
            ]))
    }

    fileprivate static let type = QMPType.structure([
        QMPMember("CPU", .natural), QMPMember("thread_id", .natural, "the host's id of its thread"),
        QMPMember("arch", .choice(Architecture.allCases.map(\.shortName))), QMPMember("current", .boolean),
        QMPMember("halted", .boolean), QMPMember("qom_path", .string), properties(separator: "_"),
    ])

    fileprivate func json(on architecture: Architecture) -> JSONValue {
        [
            "arch": .string(architecture.shortName), "current": true, "qom_path": path, "halted": false,
            "props": properties(architecture, separator: "_"), "CPU": JSONValue(index),
            "thread_id": JSONValue(threadID),
        ]
    }

    fileprivate static let fastType = QMPType.structure([
        QMPMember("cpu-index", .natural), QMPMember("thread-id", .natural, "the host's id of its thread"),
        QMPMember("qom-path", .string), QMPMember("target", .choice(Architecture.allCases.map(\.rawValue))),
        properties(separator: "-"),
    ])

    fileprivate func fastJSON(on architecture: Architecture) -> JSONValue {
        [
            "thread-id": JSONValue(threadID), "props": properties(architecture, separator: "-"), "qom-path": path,
            "cpu-index": JSONValue(index), "target": .string(architecture.rawValue),
        ]
    }

    fileprivate static let slotType = QMPType.structure([
        QMPMember("type", .string), QMPMember("vcpus-count", .natural), properties(separator: "_"),
        QMPMember("qom-path", .string, "there if a vCPU is", optional: true),
    ])

    fileprivate func slotJSON(on architecture: Architecture) -> JSONValue {
        let model = architecture == .x86_64 ? "host-x86-cpu" : "host-aarch64-cpu"
        return [
            "type": .string(model), "vcpus-count": 1, "props": properties(architecture, separator: "_"),
            "qom-path": path,
        ]
    }
}

extension IOThreadInfo {
    fileprivate static let type = QMPType.structure([
        QMPMember("id", .string), QMPMember("thread-id", .natural, "the host's id of its thread"),
        QMPMember("poll-max-ns", .natural), QMPMember("poll-grow", .natural), QMPMember("poll-shrink", .natural),
    ])

    fileprivate var json: JSONValue {
        [
            "poll-shrink": 0, "thread-id": JSONValue(threadID), "poll-grow": 0, "poll-max-ns": 0, "id": .string(id),
        ]
    }
}

extension CharacterDeviceInfo {
    fileprivate static let type = QMPType.structure([
        QMPMember("label", .string), QMPMember("filename", .string), QMPMember("frontend-open", .boolean),
    ])

    fileprivate var json: JSONValue {
        ["frontend-open": .bool(isFrontendOpen), "filename": .string(filename), "label": .string(label)]
    }
}
