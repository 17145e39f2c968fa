import Bus
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
        let bus = SystemBus(vcpus: 1)
        let devices = ReactorBus(reactor, bus) { _ in actions += 1 }
        let layout = BoardLayout.microvm
        let places: [(any BusDevice, AddressRange)] = [
            (serial, layout.serial.addresses), (keyboard, layout.keyboard.addresses), (PVPanic(), layout.panic),
            (ACPIPowerRegisters(layout.power), layout.power.addresses),
        ]
        for (device, addresses) in places {
            try expect(devices.attach(device, at: addresses), "the ports \(addresses) are taken")
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
                let place = places[input.oneIn(3) ? input.below(places.count) : 0].1
                let address =
                    input.oneIn(32) ? input.integer() : place.start &+ UInt64(input.below(Int(place.count) + 1))
                let size: UInt8 = input.oneIn(8) ? input.pick([2, 4, 8, 0, 3]) : 1
                let space: AddressSpace = input.oneIn(32) ? .memory : .ports
                let value = isWrite ? UInt64(input.byte()) : 0
                if isWrite { written += Int(max(size, 1)) }
                guard let range = bus.snapshot.range(at: address, size: size, in: space), let cell = range.cell else {
                    continue
                }
                var access = BusAccess(
                    isWrite: isWrite, size: size, offset: address - range.addresses.start, value: value)
                devices.perform(&access, on: cell)
                if !isWrite, size < 8, size > 0 {
                    try expect(access.value >> (8 * UInt64(size)) == 0, "a value wider than its access")
                }
            }
        }
        for (device, _) in places { devices.detach(device) }
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
