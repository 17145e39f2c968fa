import Backends
import EventLoop
import Glibc
import Host
import TestSupport
import Testing

/// A front end that takes as much as the test allows.
final class FakeFrontend: ChardevFrontend {
    var received: [UInt8] = []
    var appetite = Int.max
    var opened: [Bool] = []

    func receive(_ bytes: HostSlice) -> Int {
        let taken = bytes.prefix(appetite)
        received += taken.bytes
        if appetite != .max { appetite -= taken.count }
        return taken.count
    }

    func hostEndChanged(isOpen: Bool) { opened.append(isOpen) }
}

/// Runs the reactor until something holds; false if it takes longer than ten seconds.
func run(_ reactor: Reactor, until holds: () throws -> Bool) rethrows -> Bool {
    let deadline = Clock.monotonic + 10_000_000_000
    while try !holds() {
        if Clock.monotonic > deadline { return false }
        reactor.turn(waiting: false)
    }
    return true
}

extension Chardev {
    func send(_ bytes: [UInt8]) {
        let buffer = IOBuffer(capacity: max(bytes.count, 1))
        buffer.all.copy(from: bytes)
        send(buffer.all.prefix(bytes.count))
    }

    func send(_ text: String) { send(Array(text.utf8)) }
}

/// A pipe.
func makePipe() -> (reading: Int32, writing: Int32) {
    signal(SIGPIPE, SIG_IGN)
    var ends: [Int32] = [-1, -1]
    #expect(unsafe pipe(&ends) == 0)
    return (ends[0], ends[1])
}
