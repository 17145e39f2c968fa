import Synchronization

/// Why a device interrupts, as its driver reads and acknowledges it.
///
/// Any thread may do so: a vCPU that handles an interrupt need not wait for the device's own thread, which is likely to
/// be busy with just what it interrupted for.
package final class InterruptStatus: Sendable {
    private let causes = Atomic<UInt32>(0)
    private let standing = Atomic<UInt32>(0)

    /// No cause at all.
    package init() {}

    /// The causes that are not acknowledged, and those that stand; what the device did before is visible afterwards.
    package var value: UInt32 { causes.load(ordering: .acquiring) | standing.load(ordering: .acquiring) }

    /// Adds causes, before the interrupt is raised.
    package func insert(_ added: UInt32) { causes.bitwiseOr(added, ordering: .acquiringAndReleasing) }

    /// Takes causes away that the driver has seen.
    package func acknowledge(_ seen: UInt32) { causes.bitwiseAnd(~seen, ordering: .acquiringAndReleasing) }

    /// Takes all causes away, but for those that stand.
    package func clear() { causes.store(0, ordering: .releasing) }

    /// Sets the causes that stay, acknowledged or not. For the device's thread only.
    package func setStanding(_ kept: UInt32) { standing.store(kept, ordering: .releasing) }
}
