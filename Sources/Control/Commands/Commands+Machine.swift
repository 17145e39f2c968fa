extension Command {
    /// Queries about the machine and its CPUs.
    static let machineQueries: [Command] = [
        .query("query-name", "The machine's name, if it has one.") { machine in
            machine.name.map { ["name": .string($0)] } ?? .emptyObject
        },
        .query("query-uuid", "The machine's UUID; all zero if it has none.") { machine in
            ["UUID": .string(machine.uuid ?? "00000000-0000-0000-0000-000000000000")]
        },
        .query("query-target", "The guest's architecture.") { ["arch": .string($0.architecture.rawValue)] },
        .constant("query-kvm", "Whether KVM is there and in use.", ["enabled": true, "present": true]),
        .query("query-machines", "The machine types that can be started.") { machine in
            .array(machine.machineTypes.map(\.json))
        },
        .query("query-cpus", "The vCPUs with their threads, as StratoVirt reports them.") { machine in
            .array(machine.cpus.map { $0.json(on: machine.architecture) })
        },
        .query("query-cpus-fast", "The vCPUs with their threads, as QEMU reports them.") { machine in
            .array(machine.cpus.map { $0.fastJSON(on: machine.architecture) })
        },
        .query("query-hotpluggable-cpus", "The slots for vCPUs, all of them taken.") { machine in
            .array(machine.cpus.map { $0.slotJSON(on: machine.architecture) })
        },
        .query("query-iothreads", "The iothreads with their threads.") { machine in
            .array(machine.ioThreads.map(\.json))
        },
        .query("query-chardev", "The character devices.") { .array($0.characterDevices.map(\.json)) },
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

    fileprivate func json(on architecture: Architecture) -> JSONValue {
        [
            "arch": .string(architecture.shortName), "current": true, "qom_path": path, "halted": false,
            "props": properties(architecture, separator: "_"), "CPU": JSONValue(index),
            "thread_id": JSONValue(threadID),
        ]
    }

    fileprivate func fastJSON(on architecture: Architecture) -> JSONValue {
        [
            "thread-id": JSONValue(threadID), "props": properties(architecture, separator: "-"), "qom-path": path,
            "cpu-index": JSONValue(index), "target": .string(architecture.rawValue),
        ]
    }

    fileprivate func slotJSON(on architecture: Architecture) -> JSONValue {
        let model = architecture == .x86_64 ? "host-x86-cpu" : "host-aarch64-cpu"
        return [
            "type": .string(model), "vcpus-count": 1, "props": properties(architecture, separator: "_"),
            "qom-path": path,
        ]
    }
}

extension IOThreadInfo {
    fileprivate var json: JSONValue {
        [
            "poll-shrink": 0, "thread-id": JSONValue(threadID), "poll-grow": 0, "poll-max-ns": 0, "id": .string(id),
        ]
    }
}

extension CharacterDeviceInfo {
    fileprivate var json: JSONValue {
        ["frontend-open": .bool(isFrontendOpen), "filename": .string(filename), "label": .string(label)]
    }
}
