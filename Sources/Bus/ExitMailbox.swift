import EventLoop
import Host
import Synchronization

/// The mailbox in which a vCPU's thread hands one access to the reactor of a device and waits for the answer.
///
/// The thread spins for a bounded while, since an answer usually comes sooner than a sleeping thread wakes, and then
/// sleeps. How long it spins adapts to whether that paid; with one CPU it never spins.
final class ExitMailbox: @unchecked Sendable {
    private enum State {
        static let idle: UInt32 = 0
        static let requested: UInt32 = 1
        static let parked: UInt32 = 2
        static let served: UInt32 = 3
    }

    /// By which number the vCPU calls reactors.
    private let caller: Int
    private let state = Futex(State.idle)
    // Written by the vCPU before `requested`, by the reactor before `served`: the state hands them over. The cell
    // stays until the next access, which is likely to be to the same one.
    private var access = BusAccess(isWrite: false, size: 1, offset: 0)
    private var cell: DeviceCell?
    private var spin: UInt64
    private let maySpin: Bool

    /// Nanoseconds.
    private static let shortestSpin: UInt64 = 2_000
    private static let longestSpin: UInt64 = 50_000

    init(caller: Int, maySpin: Bool) {
        self.caller = caller
        self.maySpin = maySpin
        spin = Self.longestSpin
    }

    /// Hands `access` to the device in `cell` and waits for its answer. Called by the vCPU's thread only.
    func forward(_ access: BusAccess, to cell: DeviceCell) -> UInt64 {
        self.access = access
        if self.cell !== cell { self.cell = cell }
        state.store(State.requested)
        cell.owner.announce(caller: caller)
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

    /// Serves the request, if there is one. Called by the thread of the reactor that was announced to.
    func serve(by bus: ReactorBus) {
        let now = state.load()
        guard now == State.requested || now == State.parked, let cell else { return }
        bus.perform(&access, on: cell)
        if state.exchange(State.served) == State.parked { state.wake() }
    }
}
