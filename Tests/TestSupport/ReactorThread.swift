package import EventLoop
import Host
import Synchronization

/// A thread with a reactor, which runs as long as this object lives.
package final class ReactorThread {
    package let handle: ReactorHandle
    private var thread: HostThread?

    private final class Start: Sendable {
        let handle = Mutex<ReactorHandle?>(nil)
        let isOver = Futex(0)
    }

    package init(name: String) throws {
        let start = Start()
        let thread = try HostThread(name: name) {
            let reactor = try? Reactor(name: name)
            start.handle.withLock { $0 = reactor?.handle }
            start.isOver.store(1)
            start.isOver.wake()
            reactor?.run()
        }
        while start.isOver.load() == 0 { start.isOver.wait(while: 0) }
        guard let handle = start.handle.withLock({ $0 }) else {
            thread.join()
            throw VirtioDriver.Failure.timedOut
        }
        self.handle = handle
        self.thread = consume thread
    }

    deinit {
        handle.send { $0.stop() }
        thread.take()?.join()
    }
}
