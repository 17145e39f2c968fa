import Host
import Synchronization

/// What other threads may do with a reactor: wake it, send it work, post words to it, and call it.
package final class ReactorHandle: Sendable {
    /// Work for a reactor, run once on its thread.
    package typealias Message = @Sendable (Reactor) -> Void

    /// The most callers that one reactor can serve.
    package static let maximumCallers = 256

    /// The reactor's name, which is also its thread's.
    package let name: String
    let wakeUp: EventFD
    let posted = PostedWords()
    private let messages = Mutex<[Message]>([])
    private let hasMessages = Atomic<Bool>(false)
    private let sleeping = Atomic<Bool>(false)
    private let callers0 = Atomic<UInt64>(0)
    private let callers1 = Atomic<UInt64>(0)
    private let callers2 = Atomic<UInt64>(0)
    private let callers3 = Atomic<UInt64>(0)

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

    /// Leaves a word for the reactor's `CallServer` without waiting for it; false when too many wait already.
    package func post(_ word: UInt64) -> Bool {
        guard posted.push(word) else { return false }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        wakeIfSleeping()
        return true
    }

    /// Makes the reactor's `CallServer` serve the caller of this number, which is below `maximumCallers`.
    package func announce(caller: Int) {
        let bit = UInt64(1) << UInt64(caller & 63)
        switch caller >> 6 {
        case 0: callers0.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        case 1: callers1.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        case 2: callers2.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        default: callers3.bitwiseOr(bit, ordering: .sequentiallyConsistent)
        }
        wakeIfSleeping()
    }

    /// Takes the announced callers from `64 * word` to `64 * word + 63`, as a bit set.
    func takeCallers(_ word: Int) -> UInt64 {
        switch word {
        case 0: callers0.load(ordering: .relaxed) == 0 ? 0 : callers0.exchange(0, ordering: .acquiring)
        case 1: callers1.load(ordering: .relaxed) == 0 ? 0 : callers1.exchange(0, ordering: .acquiring)
        case 2: callers2.load(ordering: .relaxed) == 0 ? 0 : callers2.exchange(0, ordering: .acquiring)
        default: callers3.load(ordering: .relaxed) == 0 ? 0 : callers3.exchange(0, ordering: .acquiring)
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
        hasMessages.load(ordering: .relaxed) || callers0.load(ordering: .relaxed) != 0
            || callers1.load(ordering: .relaxed) != 0 || callers2.load(ordering: .relaxed) != 0
            || callers3.load(ordering: .relaxed) != 0 || !posted.isEmpty
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
