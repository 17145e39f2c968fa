import JSONText

extension Command {
    /// Queries about disks.
    static let blockQueries: [Command] = [
        .query("query-block", "The disks with what is in them.", returns: .list(of: BlockDeviceInfo.type)) {
            .array($0.blockDevices.map(\.json))
        },
        Command(
            "query-named-block-nodes", "The images that disks are made of.",
            arguments: [Argument("flat", .boolean, "without their backing files", optional: true)],
            returns: .list(of: BlockDeviceInfo.nodeType)
        ) { .done(.array($0.machine.blockDevices.map(\.node))) },
        .constant("query-block-jobs", "Long work on images; there is none.", returns: .array, []),
    ]
}

extension BlockDeviceInfo {
    fileprivate static let type = QMPType.structure([
        QMPMember("device", .string, "the drive's id"), QMPMember("qdev", .string, "the device's id", optional: true),
        QMPMember("type", .string), QMPMember("removable", .boolean), QMPMember("locked", .boolean),
        QMPMember("inserted", nodeType, optional: true),
    ])

    fileprivate static let nodeType = QMPType.structure([
        QMPMember("node-name", .string), QMPMember("file", .string), QMPMember("drv", .string),
        QMPMember("ro", .boolean), QMPMember("encrypted", .boolean), QMPMember("backing_file_depth", .natural),
        QMPMember("bps", .natural), QMPMember("bps_rd", .natural), QMPMember("bps_wr", .natural),
        QMPMember("iops", .natural), QMPMember("iops_rd", .natural), QMPMember("iops_wr", .natural),
        QMPMember("detect_zeroes", .choice(["off", "on", "unmap"])), QMPMember("write_threshold", .natural),
        QMPMember(
            "cache",
            .structure([
                QMPMember("writeback", .boolean), QMPMember("direct", .boolean), QMPMember("no-flush", .boolean),
            ])),
        QMPMember(
            "image",
            .structure([
                QMPMember("filename", .string), QMPMember("format", .string), QMPMember("virtual-size", .natural),
            ])),
    ])

    fileprivate var json: JSONValue {
        [
            "device": .string(id), "qdev": .string(deviceID), "locked": false, "removable": false, "type": "unknown",
            "inserted": node,
        ]
    }

    /// The image as QEMU's `BlockDeviceInfo` has it.
    fileprivate var node: JSONValue {
        [
            "node-name": .string(id), "file": .string(file), "drv": .string(format), "ro": .bool(isReadOnly),
            "encrypted": false, "backing_file_depth": 0, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": JSONValue(iops),
            "iops_rd": 0, "iops_wr": 0, "detect_zeroes": .string(zeroDetection), "write_threshold": 0,
            "cache": ["writeback": .bool(isWriteback), "direct": .bool(isDirect), "no-flush": false],
            "image": ["filename": .string(file), "format": .string(format), "virtual-size": JSONValue(size)],
        ]
    }
}
