/// How a balloon moves by itself: it looks from time to time, and leaves the guest what it needs and a buffer.
///
/// What the guest needs is what it makes do with, less what it tells it has available. The buffer is a share of that, as
/// StratoVirt's `membuf-percent` means it, and at least 64 MiB, since it has to last until the next look.
package struct AutoBalloonPolicy: Sendable {
    private let memory: UInt32
    private let bufferPercent: UInt8
    /// Between two looks, in nanoseconds.
    let interval: UInt64

    /// The smallest buffer, in pages.
    private static let leastBuffer = (64 << 20) / balloonPageSize
    /// The guest is not bothered for less than this part of the buffer.
    private static let tolerance: UInt64 = 8

    /// - Parameters:
    ///   - memory: the guest's, in pages of 4 KiB.
    ///   - bufferPercent: how much the buffer is of what the guest needs.
    ///   - interval: between two looks, in nanoseconds.
    package init(memory: UInt32, bufferPercent: UInt8, interval: UInt64) {
        self.memory = memory
        self.bufferPercent = bufferPercent
        self.interval = interval
    }

    /// How many pages to have given up, in all, by a driver that is to give up `target`, has given up `givenUp` and has
    /// `available` bytes left for whoever wants them.
    package func target(after target: UInt32, givenUp: UInt32, available: UInt64) -> UInt32 {
        let kept = UInt64(memory - min(memory, givenUp))
        let needed = kept - min(kept, available / balloonPageSize)
        let buffer = max(needed * UInt64(bufferPercent) / 100, Self.leastBuffer)
        let next = memory - UInt32(clamping: min(UInt64(memory), needed + buffer))
        let distance = next > target ? next - target : target - next
        return distance < buffer / Self.tolerance ? target : next
    }
}
