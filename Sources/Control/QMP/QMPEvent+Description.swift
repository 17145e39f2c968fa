extension QMPEvent.Name {
    /// When it is posted, as a sentence.
    package var summary: String {
        switch self {
        case .shutdown: "The machine ends."
        case .reset: "The guest reset itself, or a client sent `system_reset`; the VM ends, and SHUTDOWN follows."
        case .stop: "No vCPU is in the guest and no I/O is in flight."
        case .resume: "The vCPUs run, again or for the first time."
        case .powerdown: "A client sent `system_powerdown`; the VM ends, and SHUTDOWN follows."
        case .balloonChanged: "The guest makes do with another amount of memory; at most one a second."
        case .deviceDeleted: "A device has been unplugged; its id may be used again."
        case .blockIOError: "The host could not carry out a disk's request; at most one a second for each disk."
        case .guestPanicked:
            "The guest's kernel has panicked; the machine goes on until the guest or its owner ends it."
        case .guestCrashLoaded: "The guest's kernel has panicked, and its crash kernel takes over."
        }
    }

    /// The members of its `data`.
    package var members: [QMPMember] {
        switch self {
        case .shutdown:
            [
                QMPMember("guest", .boolean, "whether the guest caused it"),
                QMPMember("reason", .string, "see [How a VM ends](UsingFromAShim.md#how-a-vm-ends)"),
            ]
        case .reset: [QMPMember("guest", .boolean, "whether the guest caused it")]
        case .stop, .resume, .powerdown: []
        case .balloonChanged: [QMPMember("actual", .natural, "bytes")]
        case .deviceDeleted: [QMPMember("device", .string, "its id"), QMPMember("path", .string, "the same")]
        case .blockIOError:
            [
                QMPMember("device", .string, "the drive's id"), QMPMember("qom-path", .string),
                QMPMember("node-name", .string, "the drive's id again", optional: true),
                QMPMember("operation", .choice(["read", "write"])),
                QMPMember("action", .choice(["ignore", "report", "stop"]), "`report`: the guest was told"),
                QMPMember("nospace", .boolean, "whether the host's disk is full", optional: true),
                QMPMember("reason", .string, "for people"),
            ]
        case .guestPanicked, .guestCrashLoaded: [QMPMember("action", .choice(["pause", "poweroff", "run"]))]
        }
    }
}
