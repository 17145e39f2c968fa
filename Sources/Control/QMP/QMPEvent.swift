package import JSONText

/// Something that happened to the machine, told to every client.
package struct QMPEvent: Equatable, Sendable {
    /// All events there are, in the order `query-events` lists them.
    package enum Name: String, CaseIterable, Sendable {
        case shutdown = "SHUTDOWN"
        case reset = "RESET"
        case stop = "STOP"
        case resume = "RESUME"
        case powerdown = "POWERDOWN"
        case guestPanicked = "GUEST_PANICKED"
        case guestCrashLoaded = "GUEST_CRASHLOADED"
        case balloonChanged = "BALLOON_CHANGED"
        case deviceDeleted = "DEVICE_DELETED"
        case blockIOError = "BLOCK_IO_ERROR"

        /// The shortest time between two of them, in nanoseconds, as QEMU has it: of those that come sooner the last is
        /// posted when it is over. 0 for events that are posted at once.
        package var interval: UInt64 {
            self == .balloonChanged ? 1_000_000_000 : 0
        }
    }

    /// Wall-clock time since 1970 in UTC.
    package struct Timestamp: Equatable, Sendable {
        package var seconds: UInt64
        package var microseconds: UInt64

        package init(seconds: UInt64, microseconds: UInt64) {
            self.seconds = seconds
            self.microseconds = microseconds
        }
    }

    package let name: Name
    package let data: JSONObject

    /// The machine ends; `reason` is `guest-shutdown`, `host-qmp-quit` or a sentence.
    package static func shutdown(guest: Bool, reason: String) -> QMPEvent {
        QMPEvent(name: .shutdown, data: ["guest": .bool(guest), "reason": .string(reason)])
    }

    /// The machine was reset, which ends it; `guest` tells whether the guest did it.
    package static func reset(guest: Bool) -> QMPEvent {
        QMPEvent(name: .reset, data: ["guest": .bool(guest)])
    }

    /// All vCPUs stand still and no I/O is in flight.
    package static let stop = QMPEvent(name: .stop, data: [:])

    /// The vCPUs run, again or for the first time.
    package static let resume = QMPEvent(name: .resume, data: [:])

    /// A client sent `system_powerdown`, which ends the machine.
    package static let powerdown = QMPEvent(name: .powerdown, data: [:])

    /// The guest makes do with another amount of memory, in bytes.
    package static func balloonChanged(actual: UInt64) -> QMPEvent {
        QMPEvent(name: .balloonChanged, data: ["actual": JSONValue(actual)])
    }

    /// A device has been unplugged; its id stands for its path too, as on StratoVirt's light machine.
    package static func deviceDeleted(_ id: String) -> QMPEvent {
        QMPEvent(name: .deviceDeleted, data: ["device": .string(id), "path": .string(id)])
    }

    /// The host could not carry out a disk's request; the guest was told.
    ///
    /// - Parameters:
    ///   - device: the disk's id.
    ///   - node: the drive's id.
    package static func blockIOError(
        device: String, node: String, isRead: Bool, reason: String, hasNoSpace: Bool
    ) -> QMPEvent {
        QMPEvent(
            name: .blockIOError,
            data: [
                "device": .string(node), "qom-path": .string("/machine/peripheral/\(device)"),
                "node-name": .string(node), "operation": isRead ? "read" : "write", "action": "report",
                "nospace": .bool(hasNoSpace), "reason": .string(reason),
            ])
    }

    /// The guest's kernel has panicked; the machine goes on.
    package static let guestPanicked = QMPEvent(name: .guestPanicked, data: ["action": "run"])

    /// The guest's kernel has panicked, and a crash kernel of its own takes over.
    package static let guestCrashLoaded = QMPEvent(name: .guestCrashLoaded, data: ["action": "run"])

    /// The event as sent, without the line's end.
    func json(at time: Timestamp) -> JSONValue {
        [
            "event": .string(name.rawValue),
            "data": .object(data),
            "timestamp": [
                "seconds": JSONValue(time.seconds), "microseconds": JSONValue(time.microseconds),
            ],
        ]
    }
}
