import Host
import Synchronization

/// What other threads may do with a reactor: wake it, send it work, and hand it vCPU accesses.
package final class ReactorHandle: Sendable {
    /// Work for a reactor, run once on its thread.
    package typealias Message = @Sendable (Reactor) -> Void

    /// The most vCPUs whose accesses one reactor can serve.
    package static let maximumPorts = 256

    /// The reactor's name, which is also its thread's.
    package let name: String
    let wakeUp: EventFD
    let posted = PostedWrites()
    private let messages = Mutex<[Message]>([])
    private let hasMessages = Atomic<Bool>(false)
    private let sleeping = Atomic<Bool>(false)
    private let exits0 = Atomic<UInt64>(0)
    private let exits1 = Atomic<UInt64>(0)
    private let exits2 = Atomic<UInt64>(0)
    private let exits3 = Atomic<UInt64>(0)

    init(name: String) throws(Errno) {
        self.name = name
        wakeUp = try EventFD()
    }

    /// Sends work from any thread; messages run in the order in which they were sent.
    package func send(_ message: @escaping Message) {
        messages.withLock { $0.append(message) }
        hasMessages.store(true, ordering: .sequentiallyConsistent)
        wakeIfSleeping()
    }

    /// Leaves a port write for the reactor without waiting for it; false when too many wait already.
    package func post(port: UInt16, size: UInt8, value: UInt32) -> Bool {
        guard posted.push(port: port, size: size, value: value) else { return false }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        wakeIfSleeping()
        return true
    }

    func announceExit(of index: Int) {
        let bit = UInt64(1) << UInt64(index & 63)
        switch index >> 6 {
        case 0: exits0.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        case 1: exits1.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        case 2: exits2.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        default: exits3.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        }
        wakeIfSleeping()
    }

    /// Takes the announced exits of ports `64 * word` to `64 * word + 63`, as a bit set.
    func takeExits(_ word: Int) -> UInt64 {
        switch word {
        case 0: exits0.load(ordering: .relaxed) == 0 ? 0 : exits0.exchange(0, ordering: .acquiring)
        case 1: exits1.load(ordering: .relaxed) == 0 ? 0 : exits1.exchange(0, ordering: .acquiring)
        case 2: exits2.load(ordering: .relaxed) == 0 ? 0 : exits2.exchange(0, ordering: .acquiring)
        default: exits3.load(ordering: .relaxed) == 0 ? 0 : exits3.exchange(0, ordering: .acquiring)
        }
    }

    func takeMessages() -> [Message] {
        guard hasMessages.load(ordering: .relaxed) else { return [] }
        hasMessages.store(false, ordering: .sequentiallyConsistent)
        return messages.withLock { waiting in
            let taken = waiting
            waiting = []
            return taken
        }
    }

    /// Whether another thread has left something to do.
    var hasWork: Bool {
        hasMessages.load(ordering: .relaxed) || exits0.load(ordering: .relaxed) != 0
            || exits1.load(ordering: .relaxed) != 0 || exits2.load(ordering: .relaxed) != 0
            || exits3.load(ordering: .relaxed) != 0 || !posted.isEmpty
    }

    /// Tells whoever leaves work from now on that the reactor must be woken; false if there is work already.
    func prepareToSleep() -> Bool {
        sleeping.store(true, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard hasWork else { return true }
        sleeping.store(false, ordering: .relaxed)
        return false
    }

    func wokeUp() {
        sleeping.store(false, ordering: .relaxed)
    }

    private func wakeIfSleeping() {
        if sleeping.load(ordering: .sequentiallyConsistent), sleeping.exchange(false, ordering: .sequentiallyConsistent)
        {
            wakeUp.signal()
        }
    }
}
