/// The policy of a balloon that adjusts itself: it samples the guest's statistics and leaves the guest what it needs
/// and a buffer.
///
/// The guest needs the memory that it has, less the memory that it reports as available. The buffer is a share of that,
/// as in StratoVirt's `membuf-percent`, and at least 64 MiB, since it must last until the next sample.
package struct AutoBalloonPolicy: Sendable {
    private let memory: UInt32
    private let bufferPercent: UInt8
    /// The time between two samples, in nanoseconds.
    let interval: UInt64

    /// The smallest buffer, in pages.
    private static let leastBuffer = (64 << 20) / balloonPageSize
    /// A change below this part of the buffer is not worth the guest's work.
    private static let tolerance: UInt64 = 8

    /// - Parameters:
    ///   - memory: the guest's, in pages of 4 KiB.
    ///   - bufferPercent: the buffer's share of what the guest needs.
    ///   - interval: between two samples, in nanoseconds.
    package init(memory: UInt32, bufferPercent: UInt8, interval: UInt64) {
        self.memory = memory
        self.bufferPercent = bufferPercent
        self.interval = interval
    }

    /// The next target in pages, for a driver that should give up `target`, has given up `givenUp` and reports
    /// `available` bytes.
    package func target(after target: UInt32, givenUp: UInt32, available: UInt64) -> UInt32 {
        let kept = UInt64(memory - min(memory, givenUp))
        let needed = kept - min(kept, available / balloonPageSize)
        let buffer = max(needed * UInt64(bufferPercent) / 100, Self.leastBuffer)
        let next = memory - UInt32(clamping: min(UInt64(memory), needed + buffer))
        let distance = next > target ? next - target : target - next
        return distance < buffer / Self.tolerance ? target : next
    }
}
