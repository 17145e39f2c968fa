extension Command {
    /// Commands of StratoVirt that a MicroVm cannot carry out. Their arguments are checked all the same, so that a
    /// client learns of all its mistakes here; then they fail.
    static let standardMachine: [Command] = [
        .needing(
            "PCI network cards of the standard machine", "netdev_replace", "Exchange the tap device of a network card.",
            [
                Argument("id", .string), Argument("ifname", .string), Argument("path", .string, optional: true),
                Argument("macnat", .boolean),
            ]),
        .needing(
            "PCI network cards of the standard machine", "netlink_set", "Set a link's state. `set_link` does it here.",
            [Argument("id", .string), Argument("up", .boolean)]),
        .needing(
            "vhost-user devices of the standard machine", "chardev-add", "Add a character device.",
            [Argument("id", .string), Argument("backend", .object)]),
        .needing(
            "vhost-user devices of the standard machine", "chardev-remove", "Remove a character device.",
            [Argument("id", .string)]),
        .needing(
            usb, "cameradev_add", "Add a camera.",
            [Argument("id", .string), Argument("driver", .string), Argument("path", .string, optional: true)]),
        .needing(usb, "cameradev_del", "Remove a camera.", [Argument("id", .string)]),
        .needing(
            "the test devices of the standard machine", "update_region", "Change a region of the address space.",
            [
                Argument("update_type", .string), Argument("region_type", .string), Argument("offset", .natural),
                Argument("size", .natural), Argument("priority", .natural),
                Argument("read_only_mode", .boolean, optional: true), Argument("ioeventfd", .boolean, optional: true),
                Argument("ioeventfd_data", .natural, optional: true),
                Argument("ioeventfd_size", .natural, optional: true),
                Argument("device_fd_path", .string, optional: true),
            ]),
        .needing(
            "a keyboard or pointer of the standard machine", "input_event", "Press a key, or move the pointer.",
            [Argument("key", .string), Argument("value", .string)]),
        .needing(
            "the test interface of the standard machine", "query-mem-gpa", "Read four bytes of the guest's memory.",
            [Argument("gpa", .string)], returns: .string),
        .needing(
            "the standard machine of AArch64", "query-vcpu-reg", "Read a register.",
            [Argument("addr", .string), Argument("vcpu", .natural)], returns: .string),
        .needing(
            "a virtio-mem device, which is not supported yet", "set-viomem", "Resize a virtio-mem device.",
            [Argument("id", .string), Argument("requested-size", .string)]),
        .needing(
            "a virtio-mem device, which is not supported yet", "get-viomem", "The sizes of a virtio-mem device.",
            [Argument("id", .string)], returns: .object),
        .needing(
            "snapshots, which are not supported yet", "migrate", "Write a snapshot, or migrate.",
            [Argument("uri", .string)], toleratesUnknown: true),
        .needing(
            "post-copy migration", "migrate-pause", "Pause a migration that brings pages on demand.",
            allowsOutOfBand: true),
        .needing(
            "post-copy migration", "migrate-recover", "Go on with a migration that brings pages on demand.",
            [Argument("uri", .string)], allowsOutOfBand: true),
        .needing(
            "an image with a backing file", "block-commit", "Write an overlay's content into its backing file.",
            [Argument("device", .string)], toleratesUnknown: true),
        .needing(
            "an image in qcow2", "blockdev-snapshot-internal-sync", "Take a snapshot within an image.",
            [Argument("device", .string), Argument("name", .string)]),
        .needing(
            "an image in qcow2", "blockdev-snapshot-delete-internal-sync", "Remove a snapshot within an image.",
            [
                Argument("device", .string), Argument("name", .string, optional: true),
                Argument("id", .string, optional: true),
            ], returns: .object),
        .needing(
            "trace events, which there are none of", "trace-set-state", "Switch a trace event.",
            [
                Argument("name", .string), Argument("enable", .boolean),
                Argument("ignore-unavailable", .boolean, optional: true), Argument("vcpu", .natural, optional: true),
            ]),
        .needing("a display of the standard machine", "query-vnc", "The state of VNC.", returns: .object),
        .needing("a display of the standard machine", "query-display-image", "Take a picture of it.", returns: .object),
        .needing("a display of the standard machine", "query-ohui-status", "The state of OHUI.", returns: .object),
        .needing(
            "network cards of the standard machine", "query-workloads", "The load of modules.", [], returns: .object),
        .needing(
            "a sound device of the standard machine", "switch-audio-record", "Let the guest record, or not.",
            [Argument("authorized", .choice(["on", "off"]))]),
        .needing(
            "a sound device of the standard machine", "detect-silent-audio", "Whether the guest plays silence.",
            returns: .any),
    ]

    private static let usb = "USB of the standard machine"

    private static func needing(
        _ what: String, _ name: String, _ summary: String, _ arguments: [Argument] = [],
        toleratesUnknown: Bool = false, returns: QMPType = .nothing, allowsOutOfBand: Bool = false
    ) -> Command {
        let error = QMPError("\(name): this needs \(what); the machine is a MicroVm")
        return Command(
            name, "\(summary) Fails: it needs \(what).", arguments: arguments, toleratesUnknown: toleratesUnknown,
            returns: returns, allowsOutOfBand: allowsOutOfBand
        ) { _ in .failed(error) }
    }
}
