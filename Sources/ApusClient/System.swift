import CApusClient
import Glibc

/// A descriptor that this value owns and closes. All that is unsafe in the library stands in this file.
struct Descriptor: ~Copyable {
    let number: Int32

    init(owning number: Int32) {
        self.number = number
    }

    deinit { close(number) }
}

/// A moment until which a call may take.
struct Deadline {
    /// Nanoseconds of the monotonic clock; nil for never.
    private let end: UInt64?

    init(_ timeout: Duration?) {
        end = timeout.map { timeout in
            let (seconds, attoseconds) = timeout.components
            let (whole, overflow) = UInt64(clamping: seconds).multipliedReportingOverflow(by: 1_000_000_000)
            let length = overflow ? UInt64.max : whole &+ UInt64(clamping: attoseconds) / 1_000_000_000
            let (end, late) = Self.now.addingReportingOverflow(length)
            return late ? UInt64.max : end
        }
    }

    var hasPassed: Bool { end.map { Self.now >= $0 } ?? false }

    /// Milliseconds left, for `poll`: at least 1 while there is any time, and -1 for always.
    var milliseconds: Int32 {
        guard let end else { return -1 }
        let now = Self.now
        return now >= end ? 0 : Int32(clamping: (end - now) / 1_000_000 + 1)
    }

    /// The end of a short while, or this deadline if it is sooner.
    func milliseconds(atMost limit: Int32) -> Int32 {
        let left = milliseconds
        return left < 0 ? limit : min(left, limit)
    }

    private static var now: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(clamping: time.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
    }
}

/// The kernel's calls with Swift's types. Each throws what failed, in the words of `task`.
enum System {
    /// Waits until a descriptor is ready for `events`; false when it was not within that many milliseconds.
    static func poll(_ descriptor: Int32, _ events: Int32, milliseconds: Int32, _ task: String) throws(ClientError)
        -> Bool
    {
        var entry = pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0)
        // A signal that comes meanwhile makes it end early, and the caller looks at the clock again.
        return try check(task) { unsafe Glibc.poll(&entry, 1, milliseconds) } > 0
    }

    static func pause(milliseconds: Int32) {
        _ = Glibc.poll(nil, 0, milliseconds)
    }

    /// Starts a program; `descriptors` are those it has, by their numbers there.
    static func spawn(
        _ program: String, arguments: [String], environment: [String]?, descriptors: [Int32: Int32]
    ) throws(ClientError) -> Int32 {
        let task = "starting \(program)"
        let words = [program] + arguments
        guard (words + (environment ?? [])).allSatisfy({ !$0.utf8.contains(0) }) else {
            throw .system(task, errno: EINVAL)
        }
        let count = (descriptors.keys.max() ?? 0) + 1
        // Copies above all places, so that filling one never overwrites what is meant for another.
        var places = [Int32](repeating: -1, count: Int(count))
        defer { for place in places where place >= 0 { close(place) } }
        for (place, descriptor) in descriptors {
            places[Int(place)] = try check(task) { client_duplicate(descriptor, count) }
        }
        var child: pid_t = 0
        let failure = unsafe withStrings(words) { words in
            guard let environment else {
                return unsafe client_spawn(&child, program, words, client_environment(), places, count)
            }
            return unsafe withStrings(environment) { environment in
                unsafe client_spawn(&child, program, words, environment, places, count)
            }
        }
        guard failure == 0 else { throw .system(task, errno: failure) }
        return child
    }

    static func openNull() throws(ClientError) -> Int32 {
        try check("opening /dev/null") { unsafe open("/dev/null", O_RDWR | O_CLOEXEC) }
    }

    /// A descriptor that becomes readable when the child ends.
    static func watch(_ child: Int32) throws(ClientError) -> Int32 {
        try check("watching process \(child)") { client_watch_process(child) }
    }

    private static func withStrings(_ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32)
        -> Int32
    {
        var pointers = unsafe strings.map { unsafe strdup($0) }
        unsafe pointers.append(nil)
        defer { unsafe pointers.forEach { unsafe free($0) } }
        return unsafe pointers.withUnsafeBufferPointer { buffer in
            unsafe buffer.baseAddress.map { unsafe body($0) } ?? ENOMEM
        }
    }

    /// How a child has ended, if it has.
    static func collect(_ child: Int32) throws(ClientError) -> Ending? {
        var status: Int32 = 0
        let ended = try check("waiting for process \(child)") { unsafe waitpid(child, &status, WNOHANG) }
        guard ended == child else { return nil }
        let signal = client_ending_signal(status)
        return signal != 0 ? .signal(signal) : Ending(status: client_exit_status(status))
    }

    /// Connects a socket, and waits until it is.
    static func connect(
        _ task: String, deadline: Deadline, _ begin: () -> Int32
    ) throws(ClientError) -> Descriptor {
        let socket = Descriptor(owning: try check(task, begin))
        while try !poll(socket.number, POLLOUT, milliseconds: deadline.milliseconds, task) {
            if deadline.hasPassed { throw .timedOut(task) }
        }
        let failure = client_connection_error(socket.number)
        guard failure == 0 else { throw .system(task, errno: failure) }
        return socket
    }

    static func connect(unix path: String, _ task: String, deadline: Deadline) throws(ClientError) -> Descriptor {
        try connect(task, deadline: deadline) { unsafe client_connect_unix(path) }
    }

    static func connect(
        cid: UInt32, port: UInt32, _ task: String, deadline: Deadline
    ) throws(ClientError) -> Descriptor {
        try connect(task, deadline: deadline) { client_connect_vsock(cid, port) }
    }

    /// Sends as much as the socket takes; nil if it takes nothing now.
    static func send(
        _ socket: Int32, _ bytes: ArraySlice<UInt8>, with descriptor: Int32?, _ task: String
    ) throws(ClientError) -> Int? {
        try transfer(task) {
            unsafe bytes.withUnsafeBytes { unsafe client_send(socket, $0.baseAddress, $0.count, descriptor ?? -1) }
        }
    }

    /// Reads what is there, at most `count` bytes; none at the end, and nil if nothing is there yet.
    static func read(_ socket: Int32, atMost count: Int, _ task: String) throws(ClientError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: max(1, count))
        guard let got = try transfer(task, { unsafe recv(socket, &bytes, bytes.count, 0) }) else { return nil }
        bytes.removeLast(bytes.count - got)
        return bytes
    }

    private static func transfer(_ task: String, _ call: () -> Int) throws(ClientError) -> Int? {
        do throws(ClientError) {
            return try check(task, call)
        } catch .system(_, errno: EAGAIN) {
            return nil
        } catch {
            throw error
        }
    }

    static func check<T: SignedInteger>(_ task: String, _ call: () -> T) throws(ClientError) -> T {
        while true {
            let result = call()
            if result != -1 { return result }
            let failure = errno
            if failure != EINTR { throw .system(task, errno: failure) }
        }
    }
}

/// The C library's text, for example `No such file or directory`.
func errorText(_ number: Int32) -> String {
    guard let text = unsafe client_error_text(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}
