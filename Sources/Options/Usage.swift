/// The texts of `-help` and `-version`, made from the same tables that read the command line.
package enum Usage {
    /// One line without its end: the program's name and version.
    package static let version = "apus \(Version.number)"

    /// All of the help, without the end of its last line.
    package static func help(_ limits: Limits) -> String {
        var lines = [
            "\(version): a monitor of microVMs for Linux and KVM",
            "",
            "Usage: apus -kernel PATH -qmp unix:PATH,server,nowait [OPTION]...",
            "",
            "Many values are lists KEY=VALUE,KEY=VALUE,... and a value in them has neither a comma nor an equals sign.",
            "SIZE is a number with the unit K, M or G, or M if it has none.",
        ]
        for group in OptionDescription.Group.allCases {
            let options = OptionDescription.all.filter { $0.group == group && $0.standing == .supported }
            guard !options.isEmpty else { continue }
            lines += ["", group.rawValue]
            for option in options { lines += help(option) }
        }
        lines += ["", "At most, in one machine"]
        lines += paragraph([
            "\(limits.vcpus) vCPUs", "\(limits.transports) devices on MMIO",
            "\(limits.transportsWithoutACPI) if the guest has no ACPI", "\(limits.disks) disks",
            "\(limits.nics) network cards", "\(limits.iothreads) iothreads",
        ])
        lines += ["", "Examples"] + examples
        lines += ["", "Without effect, for those who pass them to other monitors"]
        lines += paragraph(OptionDescription.all.filter { $0.standing == .ignored }.map(\.spelling))
        lines += ["", "Not supported yet"]
        lines += paragraph(
            OptionDescription.all.filter { $0.standing == .later }.map(\.spelling))
        return lines.joined(separator: "\n")
    }

    private static let examples = [
        "  A disk, and the serial port on the terminal:",
        "    apus -machine microvm -smp 2 -m 512 -kernel /boot/vmlinuz \\",
        "      -append \"console=ttyS0 root=/dev/vda rw reboot=k panic=1\" \\",
        "      -drive id=rootfs,file=/srv/rootfs.ext4 -device virtio-blk-device,drive=rootfs,id=disk0 \\",
        "      -qmp unix:/run/vm/qmp,server,nowait -serial stdio",
        "  An initial RAM disk only, in the background:",
        "    apus -kernel /boot/vmlinuz -initrd /boot/initrd.img -append console=ttyS0 -daemonize \\",
        "      -pidfile /run/vm.pid -D /var/log/vm.log -qmp unix:/run/vm/qmp,server,nowait \\",
        "      -serial file,path=/var/log/vm.console",
    ]

    // MARK: - One option

    private static func help(_ option: OptionDescription) -> [String] {
        let names = option.alias.map { "\(option.spelling), -\($0)" } ?? option.spelling
        var lines: [String]
        switch option.arity {
        case .flag: lines = ["  \(names)"]
        case .value(let placeholder): lines = ["  \(names) \(placeholder)"]
        case .values(let placeholder): lines = ["  \(names) \(placeholder)  (may be repeated)"]
        case .optionalValue(let placeholder): lines = ["  \(names) [\(placeholder)]"]
        }
        lines.append("      \(option.summary)")
        lines += option.keys.map { "        \(help($0))" }
        if option.name == OptionDescription.device.name {
            for type in DeviceType.all {
                lines += help(type.names.joined(separator: " or "), type.summary, type.keys)
            }
        }
        if option.name == OptionDescription.object.name {
            for type in ObjectSpec.types { lines += help(type.name, type.summary, type.keys) }
        }
        return lines + option.examples.map { "      for example: \(option.spelling) \($0)" }
    }

    private static func help(_ type: String, _ summary: String, _ keys: [KeyDescription]) -> [String] {
        ["      \(type): \(summary)"] + keys.map { "        \(help($0))" }
    }

    private static func help(_ key: KeyDescription) -> String {
        let written = key.placeholder.isEmpty ? key.name : "\(key.name)=\(key.placeholder)"
        let padding = String(repeating: " ", count: max(1, 30 - written.count))
        let note =
            switch key.presence {
            case .required, .requiredFlag: " (required)"
            case .standard(let value): " (\(value) if not given)"
            case .optional, .flag: ""
            }
        return written + padding + key.summary + note
    }

    /// Words joined by commas, in lines of at most 100 columns.
    private static func paragraph(_ words: [String]) -> [String] {
        var lines: [String] = []
        var line = " "
        for (index, word) in words.enumerated() {
            let piece = " " + word + (index == words.count - 1 ? "" : ",")
            if line.count + piece.count > 100 {
                lines.append(line)
                line = " "
            }
            line += piece
        }
        return lines + [line]
    }
}
