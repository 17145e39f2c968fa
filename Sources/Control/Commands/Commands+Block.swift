extension Command {
    /// Queries about disks.
    static let blockQueries: [Command] = [
        .query("query-block", "The disks with what is in them.") { .array($0.blockDevices.map(\.json)) },
        .query("query-named-block-nodes", "The images that disks are made of.") { machine in
            .array(machine.blockDevices.map(\.node))
        },
        .constant("query-block-jobs", "Long work on images; there is none.", []),
    ]
}

extension BlockDeviceInfo {
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
            "iops_rd": 0, "iops_wr": 0, "detect_zeroes": "off", "write_threshold": 0,
            "cache": ["writeback": .bool(isWriteback), "direct": .bool(isDirect), "no-flush": false],
            "image": ["filename": .string(file), "format": .string(format), "virtual-size": JSONValue(size)],
        ]
    }
}
