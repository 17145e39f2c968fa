package import Bus
import EventLoop

/// Why a device interrupts: the bits of the ISR status (virtio 1.2 section 4.1.4.5) and of `InterruptStatus` of
/// virtio-mmio (section 4.2.2).
package struct InterruptCause: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let usedBuffer = InterruptCause(rawValue: 1)
    package static let configurationChange = InterruptCause(rawValue: 2)
}

/// How a device interrupts its driver: one line for all queues, and an ISR that tells the causes.
///
/// Callers name the queue or the change, never the line, so that a transport with one message per queue fits too. All
/// but the ISR belongs to the device's reactor; vCPU threads read and acknowledge the ISR.
package final class VirtioInterrupt {
    /// The ISR.
    let causes: InterruptStatus
    private var line: InterruptLine
    /// Whether a driver listens: from DRIVER_OK to the next reset.
    private var isEnabled = false
    /// A server outside this process raises the line, too.
    private var isStanding = false
    /// The causes come from a saved state: the driver may not have got their interrupt.
    private var isOwed = false

    /// - Parameters:
    ///   - line: raised for every cause.
    ///   - causes: the ISR, for vCPU threads that need not ask the device for it.
    package init(_ line: InterruptLine, causes: InterruptStatus = InterruptStatus()) {
        self.line = line
        self.causes = causes
    }

    // MARK: The device's side

    /// The driver is to look for used buffers in these queues, one bit each.
    @inline(__always)
    func raiseUsedBuffers(inQueues _: UInt64) { raise(.usedBuffer) }

    /// The driver is to look at the configuration and the status.
    func raiseConfigurationChange() { raise(.configurationChange) }

    private func raise(_ cause: InterruptCause) {
        guard isEnabled else { return }
        causes.insert(cause.rawValue)
        line.raise()
    }

    /// The eventfd by which a server outside this process tells the driver of used buffers of one queue.
    ///
    /// Such an interrupt leaves nothing in the ISR, so from now until the next reset the ISR always tells of used
    /// buffers: the driver then looks at its queues, which is right for any interrupt.
    func descriptor(ofQueue _: Int) -> Int32 {
        isStanding = true
        causes.setStanding(InterruptCause.usedBuffer.rawValue)
        return line.descriptor
    }

    /// The servers outside this process are gone. What they raised last may not have been seen yet.
    func endStanding() {
        guard isStanding else { return }
        causes.insert(InterruptCause.usedBuffer.rawValue)
        isStanding = false
        causes.setStanding(0)
    }

    // MARK: The driver's side

    /// The causes that the driver has not acknowledged.
    package var pending: InterruptCause { InterruptCause(rawValue: causes.value) }

    /// Takes causes away that the driver has seen.
    package func acknowledge(_ seen: InterruptCause) { causes.acknowledge(seen.rawValue) }

    // MARK: Life

    /// Lets interrupts through, or drops them.
    func setEnabled(_ isEnabled: Bool) { self.isEnabled = isEnabled }

    /// Forgets all causes: the driver has reset the device.
    func clear() {
        isStanding = false
        causes.setStanding(0)
        causes.clear()
    }

    /// Raises interrupts on another reactor's thread from now on.
    func move(to reactor: Reactor) { line = InterruptLine(line, on: reactor) }

    /// Takes over the causes of a saved state.
    func restore(_ saved: InterruptCause) {
        causes.insert(saved.rawValue)
        isOwed = !saved.isEmpty
    }

    /// Raises the interrupt of a saved state once more: an interrupt too many does no harm, one too few does.
    func raiseOwed() {
        guard isOwed else { return }
        isOwed = false
        line.raise()
    }
}
