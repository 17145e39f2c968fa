/// What owns operations: a device's worker, a listener, a session.
///
/// A target lives on one reactor and is only touched by its thread. While operations are in flight the reactor keeps
/// it alive, and with it the memory they use.
open class RingClient {
    /// Operations submitted and not yet completed.
    public internal(set) final var operationsInFlight = 0
    /// The target has asked to end: what it had in flight is being cancelled, and nothing new is taken.
    public internal(set) final var isRetiring = false
    final var isScheduled = false
    final var whenRetired: (() -> Void)?

    public init() {}

    /// One operation has ended.
    ///
    /// - Parameters:
    ///   - tag: what `submit` was given.
    ///   - result: the operation's result, or an `errno` value below zero.
    open func operationCompleted(tag: UInt32, result: Int32) {}

    /// What an operation watches has happened once more, and the operation goes on.
    ///
    /// - Parameters:
    ///   - tag: what `submit` was given.
    ///   - result: the operation's result.
    open func multishotEvent(tag: UInt32, result: Int32) {}

    /// Runs once at the end of a turn in which `Reactor.schedule` named this target.
    open func endOfTurn() {}

    /// Everything that was in flight has ended, after `Reactor.retire`.
    open func retired() {}

    final func finishRetiring() {
        let done = whenRetired
        whenRetired = nil
        retired()
        done?()
    }
}
