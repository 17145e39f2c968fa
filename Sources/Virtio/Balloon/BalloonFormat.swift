extension Features {
    /// `VIRTIO_BALLOON_F_STATS_VQ`: the driver tells how it uses its memory.
    package static let balloonStatistics = Features(bit: 1)
    /// `VIRTIO_BALLOON_F_DEFLATE_ON_OOM`: the driver may take memory back by itself when it runs out.
    package static let balloonDeflateOnOOM = Features(bit: 2)
    /// `VIRTIO_BALLOON_F_PAGE_REPORTING`: the driver reports memory that it does not use.
    package static let balloonPageReporting = Features(bit: 5)
}

/// `struct virtio_balloon_config` (virtio 1.2 section 5.5.4): where its fields begin.
enum BalloonConfig {
    /// How many pages the driver is to give up.
    static let target = 0
    /// How many it has given up, by its own account.
    static let actual = 4
    static let size = 8
}

/// Which number a queue of the balloon has (virtio 1.2 section 5.5.2).
enum BalloonQueue {
    case inflate, deflate, statistics, reporting

    /// How many queues a device with these features has.
    static func count(_ features: Features) -> Int {
        // With the one for hints of free pages, which no driver sets up, between statistics and reports.
        features.contains(.balloonPageReporting) ? 5 : 3
    }

    /// What the queue of this number is for, with the features that the driver has chosen.
    ///
    /// The specification has a number for the queue of every feature; Linux counts only those of features in use. Both
    /// are understood: the first two never move, statistics come right after them, and any other carries reports.
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

/// The size of a balloon's pages: 4 KiB, whatever pages the guest has.
package let balloonPageSize: UInt64 = 4096
