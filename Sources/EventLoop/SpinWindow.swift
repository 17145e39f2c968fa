import Host

/// For how long a reactor keeps looking for vCPU accesses before it sleeps.
///
/// Waking a thread costs tens of microseconds, and a guest that probes a device makes accesses in rows: the window
/// grows while looking pays and shrinks while it does not.
struct SpinWindow {
    private static let shortest: UInt64 = 4_000
    private static let longest: UInt64 = 200_000

    /// Off where the vCPU would need this very CPU to go on.
    var isAllowed = false
    private var window: UInt64 = 50_000
    private(set) var isWanted = false

    /// An access has just been served: another may follow at once.
    mutating func noteExit() {
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
