import CHost
import Glibc

/// A thread of the host that runs one function and ends when it returns.
@safe
package struct HostThread: ~Copyable, Sendable {
    private let thread: pthread_t

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts a thread. The kernel shows the first 15 bytes of `name`.
    package init(name: String, stackSize: Int = 256 << 10, _ body: @escaping @Sendable () -> Void) throws(Errno) {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackSize)
        let start = unsafe Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let failure = unsafe pthread_create(
            &thread, &attributes,
            { argument in
                if let argument = unsafe argument {
                    let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                    HostThread.nameCurrent(start.name)
                    start.body()
                }
                return nil
            }, start.toOpaque())
        guard failure == 0 else {
            unsafe start.release()
            throw Errno(rawValue: failure)
        }
        self.thread = thread
    }

    /// Waits until the thread's function has returned.
    package consuming func join() {
        pthread_join(thread, nil)
    }

    /// Sends a signal to the thread.
    package func signal(_ number: Int32) {
        pthread_kill(thread, number)
    }

    /// The kernel's number of the calling thread.
    package static var currentID: Int32 { host_gettid() }

    /// Names the calling thread; the kernel keeps the first 15 bytes.
    package static func nameCurrent(_ name: String) {
        let short = String(decoding: name.utf8.prefix(15), as: UTF8.self)
        _ = unsafe host_name_thread(short)
    }

    /// How many CPUs the calling thread may run on.
    package static var availableCPUs: Int { Int(host_available_cpus()) }
}
