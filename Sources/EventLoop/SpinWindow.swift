import Host

/// For how long a reactor keeps looking for callers before it sleeps.
///
/// Waking a thread costs tens of microseconds, and a caller often comes back at once: the window grows while looking
/// pays and shrinks while it does not.
struct SpinWindow {
    private static let shortest: UInt64 = 4_000
    private static let longest: UInt64 = 200_000

    /// Off where the caller would need this very CPU to go on.
    var isAllowed = false
    private var window: UInt64 = 50_000
    private(set) var isWanted = false

    /// A caller has just been served: another call may follow at once.
    mutating func noteCall() {
        isWanted = isAllowed
    }

    /// Looks for work until there is some or the window ends.
    mutating func spin(until hasWork: () -> Bool) {
        let end = Clock.monotonic &+ window
        repeat {
            for _ in 0..<32 {
                if hasWork() {
                    window = min(window * 2, Self.longest)
                    return
                }
                relaxCPU()
            }
        } while Clock.monotonic < end
        window = max(window / 2, Self.shortest)
        isWanted = false
    }
}
