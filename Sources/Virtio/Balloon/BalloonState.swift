extension BalloonDevice {
    /// The state of a balloon at rest. Amounts are in pages of 4 KiB.
    package struct State: Equatable, Sendable {
        /// The pages that the driver is asked to give up.
        package var target: UInt32
        /// The least of it, whatever the auto-balloon policy says.
        package var minimumTarget: UInt32
        /// The pages that the driver has given up, by its own account.
        package var actual: UInt32
        /// The guest's last statistics; nil without any.
        package var statistics: Statistics?
        /// The chain that the driver waits for; its queue hands it out again.
        package var statisticsHead: UInt16?
        /// Whether the auto-balloon policy waits for statistics.
        package var isSampling: Bool

        /// Statistics of the guest.
        package struct Statistics: Equatable, Sendable {
            /// By the items' numbers; nil for those that the driver left out.
            package var values: [UInt64?]
            /// Nanoseconds since 1970.
            package var time: UInt64

            /// A state with these values.
            package init(
                values: [UInt64?], time: UInt64
            ) {
                self.values = values
                self.time = time
            }
        }

        /// A state with these values.
        package init(
            target: UInt32, minimumTarget: UInt32, actual: UInt32, statistics: Statistics?, statisticsHead: UInt16?,
            isSampling: Bool
        ) {
            self.target = target
            self.minimumTarget = minimumTarget
            self.actual = actual
            self.statistics = statistics
            self.statisticsHead = statisticsHead
            self.isSampling = isSampling
        }
    }
}
