extension Features {
    /// `VIRTIO_BALLOON_F_STATS_VQ`: the driver reports memory statistics.
    package static let balloonStatistics = Features(bit: 1)
    /// `VIRTIO_BALLOON_F_DEFLATE_ON_OOM`: the driver may take memory back by itself when it runs out.
    package static let balloonDeflateOnOOM = Features(bit: 2)
    /// `VIRTIO_BALLOON_F_PAGE_REPORTING`: the driver reports memory that it does not use.
    package static let balloonPageReporting = Features(bit: 5)
}

/// The offsets of `struct virtio_balloon_config` (virtio 1.2 section 5.5.4).
enum BalloonConfig {
    /// The pages that the driver should give up.
    static let target = 0
    /// The pages that it has given up, by its own account.
    static let actual = 4
    static let size = 8
}

/// The queues of the balloon (virtio 1.2 section 5.5.2).
enum BalloonQueue {
    case inflate, deflate, statistics, reporting

    /// The number of queues of a device with these features.
    static func count(_ features: Features) -> Int {
        // The queue for free page hints, which no driver sets up, comes between statistics and reports.
        features.contains(.balloonPageReporting) ? 5 : 3
    }

    /// The queue of this number, with the features that the driver has chosen.
    ///
    /// The specification numbers the queues of all features; Linux numbers only those in use. This handles both: the
    /// first two are fixed, statistics follow them, and any other queue carries reports.
    init?(_ index: Int, _ features: Features) {
        switch index {
        case 0: self = .inflate
        case 1: self = .deflate
        case 2 where features.contains(.balloonStatistics): self = .statistics
        case 2... where features.contains(.balloonPageReporting): self = .reporting
        default: return nil
        }
    }
}

/// The size of a balloon's pages: 4 KiB, for any page size of the guest.
package let balloonPageSize: UInt64 = 4096
