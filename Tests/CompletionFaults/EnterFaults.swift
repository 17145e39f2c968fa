import FailingRing
package import Host

/// Has calls of `io_uring_enter` by the calling thread fail while a function runs.
package enum EnterFaults {
    /// What the calls of a function came to.
    package struct Count: Equatable {
        package let calls: Int
        package let failed: Int
    }

    /// Runs `body` on this thread, in which `count` calls fail with `error` from the one at `first` on, or all if `count`
    /// is nil.
    ///
    /// - Parameter body: gets a function that tells how many calls there have been.
    package static func inject(
        _ error: Errno, at first: Int, count: Int? = 1, _ body: (() -> Count) -> Void
    ) {
        failing_ring_begin_enter(Int64(first), Int64(count ?? -1), error.rawValue)
        defer { failing_ring_end_enter() }
        body { Count(calls: Int(failing_ring_enter_calls()), failed: Int(failing_ring_enter_failed())) }
    }
}
