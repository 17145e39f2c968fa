import Host
import Synchronization

/// The mailbox in which a vCPU thread hands one access to a reactor and waits for the answer.
///
/// The thread spins for a bounded while, since an answer usually comes sooner than a sleeping thread wakes, and then
/// sleeps. How long it spins adapts to whether that paid; with one CPU it never spins.
package final class ExitMailbox: @unchecked Sendable {
    private enum State {
        static let idle: UInt32 = 0
        static let requested: UInt32 = 1
        static let parked: UInt32 = 2
        static let served: UInt32 = 3
    }

    /// The vCPU's index, below `ReactorHandle.maximumPorts`.
    package let index: Int
    private let state = Futex(State.idle)
    // Written by the vCPU before `requested`, by the reactor before `served`: the state hands it over.
    private var access = BusAccess(space: .memory, isWrite: false, size: 1, address: 0)
    private var spin: UInt64
    private let maySpin: Bool

    private static let shortestSpin: UInt64 = 2_000
    private static let longestSpin: UInt64 = 50_000

    package init(index: Int, maySpin: Bool) {
        self.index = index
        self.maySpin = maySpin
        spin = Self.longestSpin
    }

    /// Hands `access` to the reactor of `handle` and waits for its answer. Called by the vCPU's thread only.
    package func forward(_ access: BusAccess, to handle: ReactorHandle) -> UInt64 {
        self.access = access
        state.store(State.requested)
        handle.announceExit(of: index)
        if !waitSpinning() {
            while state.load() != State.served {
                if state.compareExchange(expected: State.requested, State.parked) || state.load() == State.parked {
                    state.wait(while: State.parked)
                }
            }
        }
        state.store(State.idle)
        return self.access.value
    }

    private func waitSpinning() -> Bool {
        guard maySpin else { return false }
        let end = Clock.monotonic &+ spin
        repeat {
            for _ in 0..<32 {
                if state.load() == State.served {
                    spin = min(spin * 2, Self.longestSpin)
                    return true
                }
                relaxCPU()
            }
        } while Clock.monotonic < end
        spin = max(spin / 2, Self.shortestSpin)
        return false
    }

    /// Serves the request, if there is one. Called by the reactor's thread only.
    func serve(with server: AccessServer) {
        let now = state.load()
        guard now == State.requested || now == State.parked else { return }
        server.serve(&access)
        if state.exchange(State.served) == State.parked { state.wake() }
    }
}
