package import Options

extension [QMPMember] {
    /// The keys of an option as arguments of a command, whose types the option checks. Members of a nested object have
    /// a dot in their names, and are required if one of them is.
    package init(_ keys: [KeyDescription]) {
        self = []
        for key in keys {
            let parts = key.name.split(separator: ".", maxSplits: 1)
            // `throttling.iops-total` is a name with a dot, as QEMU has it.
            guard parts.count == 2, ["file", "cache"].contains(parts[0]) else {
                append(QMPMember(key.name, .any, key.summary, optional: key.presence != .required))
                continue
            }
            let member = QMPMember(
                String(parts[1]), .any, key.summary, optional: key.presence != .required)
            let name = String(parts[0])
            if let index = firstIndex(where: { $0.name == name }),
                case .structure(let members, let open) = self[index].type
            {
                let isOptional = self[index].isOptional && member.isOptional
                self[index] = QMPMember(name, .structure(members + [member], open: open), optional: isOptional)
            } else {
                append(QMPMember(name, .structure([member]), optional: member.isOptional))
            }
        }
    }
}
