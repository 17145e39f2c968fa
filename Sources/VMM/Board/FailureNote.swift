import Host
import Synchronization

/// The first of several threads' failures.
final class FailureNote: Sendable {
    private let failure = Mutex<Errno?>(nil)

    func note(_ error: Errno) {
        failure.withLock { if $0 == nil { $0 = error } }
    }

    var first: Errno? { failure.withLock { $0 } }
}
