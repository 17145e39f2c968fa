import EventLoop
import Host
import Platform

/// The devices of a board that answer at ports, in any order: a serial port with somebody typing, the keyboard
/// controller, and what ends the machine.
final class SerialFuzz: FuzzSubject {
    private let reactor: Reactor
    private let interrupt: InterruptLine
    private var line = Line()
    private let memory = IOBuffer(capacity: 256)

    /// The far end: it keeps what the port does not take.
    private final class Line: SerialLine {
        var sent = 0
        var typed = 0
        var isWanted = false

        func send(_ bytes: HostSlice) { sent += bytes.count }
        func resumeReceiving() { isWanted = true }
    }

    init() throws {
        reactor = try Reactor(name: "fuzz")
        interrupt = try InterruptLine(reactor)
    }

    func fuzz(_ input: inout FuzzInput) throws {
        line = Line()
        let serial = SerialPort(reactor, interrupt: interrupt, line: line)
        let keyboard = I8042(interrupt: interrupt)
        var actions = 0
        let bus = Bus { _ in actions += 1 }
        let places: [(any BusDevice, UInt64, UInt64)] = [
            (serial, 0x3f8, SerialPort.portCount),
            (keyboard, I8042.firstPort, I8042.portCount),
            (PVPanic(), PVPanic.firstPort, PVPanic.portCount),
            (ACPIPowerRegisters(), ACPIPowerRegisters.firstPort, ACPIPowerRegisters.portCount),
        ]
        for (device, start, count) in places {
            try expect(bus.attach(device, .ports, at: start, count: count), "the ports at \(start) are taken")
        }
        var written = 0
        var steps = 0
        while !input.isEmpty, steps < 1000 {
            steps += 1
            switch input.below(8) {
            case 0: type(into: serial, &input)
            case 1: reactor.turn(waiting: false)
            default:
                let isWrite = input.oneIn(2)
                let place = places[input.oneIn(3) ? input.below(places.count) : 0]
                let address = input.oneIn(32) ? input.integer() : place.1 &+ UInt64(input.below(Int(place.2) + 1))
                let size: UInt8 = input.oneIn(8) ? input.pick([2, 4, 8, 0, 3]) : 1
                var access = BusAccess(
                    space: input.oneIn(32) ? .memory : .ports, isWrite: isWrite, size: size, address: address,
                    value: isWrite ? UInt64(input.byte()) : 0)
                if isWrite { written += Int(max(size, 1)) }
                bus.serve(&access)
                if !isWrite, size < 8, size > 0 {
                    try expect(access.value >> (8 * UInt64(size)) == 0, "a value wider than its access")
                }
            }
        }
        for (device, _, _) in places { bus.detach(device) }
        try expect(line.sent <= written, "\(line.sent) characters were sent of \(written)")
        var isRetired = 0
        reactor.retire(serial)
        while serial.operationsInFlight > 0, isRetired < 1000 {
            reactor.turn(waiting: false)
            isRetired += 1
        }
        try expect(serial.operationsInFlight == 0, "the port cannot be removed")
        _ = interrupt.takeRaised()
    }

    private func type(into serial: SerialPort, _ input: inout FuzzInput) {
        let count = input.below(64)
        memory.all.fill(input.byte())
        line.typed += serial.receive(memory.all.prefix(count))
    }
}
