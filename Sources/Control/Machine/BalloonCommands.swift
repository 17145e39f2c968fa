/// The balloon.
package protocol BalloonCommands: AnyObject {
    /// Asks the guest to make do with so many bytes of memory, rounded down to pages.
    ///
    /// - Throws: `deviceNotActive` if there is no balloon, or no driver for it.
    func setBalloon(_ bytes: UInt64) throws(QMPError)
    /// Calls `answer` with the state of the balloon, once the guest has told how it uses its memory or takes too long.
    ///
    /// - Throws: `deviceNotActive` if there is no balloon.
    func queryBalloon(_ answer: @escaping (BalloonInfo) -> Void) throws(QMPError)
}

/// How much memory the guest makes do with.
package struct BalloonInfo {
    /// How the guest uses its memory.
    package struct Statistics {
        /// Bytes or events, by QEMU's names without the `stat-` before them.
        package var values: [(name: String, value: UInt64)]
        /// When the guest has told, in seconds since 1970.
        package var time: UInt64

        package init(values: [(name: String, value: UInt64)], time: UInt64) {
            self.values = values
            self.time = time
        }
    }

    /// Bytes: the guest's memory without what it has given up.
    package var actual: UInt64
    /// Nil if the guest has told nothing.
    package var statistics: Statistics?

    package init(actual: UInt64, statistics: Statistics? = nil) {
        self.actual = actual
        self.statistics = statistics
    }
}
