import Bus
import EventLoop
import Host
import Platform

/// Remembers what a serial port sends, and offers it what the test wants typed.
final class FakeLine: SerialLine {
    var sent: [UInt8] = []
    var batches = 0
    var waiting: [UInt8] = []
    weak var port: SerialPort?

    func send(_ bytes: HostSlice) {
        sent += bytes.bytes
        batches += 1
    }

    func resumeReceiving() { type(waiting) }

    /// Offers characters and keeps what the port does not take.
    func type(_ bytes: [UInt8]) {
        let buffer = IOBuffer(capacity: max(bytes.count, 1))
        buffer.all.copy(from: bytes)
        let taken = port?.receive(buffer.all.prefix(bytes.count)) ?? 0
        waiting = Array(bytes.dropFirst(taken))
    }
}

/// A serial port with its reactor, driven as a guest's port accesses would drive it.
struct SerialRig {
    let reactor: Reactor
    let interrupt: InterruptLine
    let line = FakeLine()
    let port: SerialPort

    init() throws {
        reactor = try Reactor(name: "test")
        interrupt = try InterruptLine(reactor)
        port = SerialPort(reactor, interrupt: interrupt, line: line)
        line.port = port
    }

    func read(_ register: Register) -> UInt8 {
        UInt8(truncatingIfNeeded: port.read(at: register.rawValue, size: 1))
    }

    func write(_ register: Register, _ value: UInt8) {
        _ = port.write(at: register.rawValue, size: 1, value: UInt64(value))
    }

    func write(_ text: String) {
        for byte in text.utf8 { write(.data, byte) }
    }

    /// Ends the turn; answers how often the interrupt was raised since the last call.
    func turn() -> UInt64 {
        // The second turn submits what the first one left, and the interrupt with it.
        reactor.turn(waiting: false)
        reactor.turn(waiting: false)
        return interrupt.takeRaised()
    }

    /// Registers by the names that Linux gives them.
    enum Register: UInt64, CaseIterable {
        case data, ier, iir, lcr, mcr, lsr, msr, scr

        static let fcr = Register.iir
    }
}
