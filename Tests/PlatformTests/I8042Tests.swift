import Bus
import EventLoop
import Platform
import Testing

/// An i8042 driven as Linux's driver does it, with every access counted.
private final class I8042Driver {
    let reactor: Reactor
    let interrupt: InterruptLine
    let controller: I8042
    var accesses = 0

    init() throws {
        reactor = try Reactor(name: "test")
        interrupt = try InterruptLine(reactor)
        controller = I8042(interrupt: interrupt)
    }

    func status() -> UInt8 {
        accesses += 1
        return UInt8(truncatingIfNeeded: controller.read(at: 4, size: 1))
    }

    func data() -> UInt8 {
        accesses += 1
        return UInt8(truncatingIfNeeded: controller.read(at: 0, size: 1))
    }

    @discardableResult
    func command(_ byte: UInt8) -> BusAction {
        accesses += 1
        return controller.write(at: 4, size: 1, value: UInt64(byte))
    }

    @discardableResult
    func write(_ byte: UInt8) -> BusAction {
        accesses += 1
        return controller.write(at: 0, size: 1, value: UInt64(byte))
    }

    /// `i8042_flush`.
    func flush() {
        while status() & 0x01 != 0 { _ = data() }
    }

    /// `__i8042_command` with at most one parameter; nil where Linux sees an error or a time-out.
    func command(_ byte: UInt8, parameter: UInt8? = nil, answers: Bool) -> UInt8? {
        #expect(status() & 0x02 == 0, "the input buffer is never full")
        command(byte)
        if let parameter {
            #expect(status() & 0x02 == 0)
            write(parameter)
        }
        guard answers else { return 0 }
        guard status() & 0x01 != 0 else { return nil }
        if byte == 0xd3, status() & 0x20 == 0 { return nil }
        return data()
    }

    /// The interrupt handler: the byte and its status, if the interrupt was raised.
    func interrupted() -> (status: UInt8, data: UInt8)? {
        reactor.turn(waiting: false)
        reactor.turn(waiting: false)
        guard interrupt.takeRaised() > 0 else { return nil }
        let now = status()
        return now & 0x01 == 0 ? nil : (now, data())
    }
}

@Suite struct KeyboardControllerTests {
    /// `i8042_init` to the end of `atkbd_probe`: no mouse port, no keyboard, no time-out, few accesses.
    @Test func linuxProbesQuicklyAndFindsNothing() throws {
        let chip = try I8042Driver()
        chip.flush()
        let first = try #require(chip.command(0x20, answers: true))
        #expect(chip.command(0x20, answers: true) == first, "a stable configuration byte")
        #expect(first & 0x40 != 0, "translated, so that only the keyboard's driver tries the port")
        #expect(chip.status() & 0x10 != 0, "no keylock")
        _ = chip.command(0x60, parameter: first & ~0x01 | 0x10, answers: false)
        chip.flush()

        // i8042_check_aux
        chip.flush()
        #expect(chip.command(0xd3, parameter: 0x5a, answers: true) == nil)
        #expect(chip.command(0xa9, answers: true) == 0x01)
        #expect(chip.interrupted() == nil, "interrupts were disabled")

        // i8042_enable_kbd_port, atkbd_probe: get ID, then set LEDs, each tried twice
        _ = chip.command(0x60, parameter: first & ~0x10 | 0x01, answers: false)
        for byte: UInt8 in [0xf2, 0xf2, 0xed, 0xed] {
            #expect(chip.status() & 0x02 == 0)
            chip.write(byte)
            let answer = try #require(chip.interrupted(), "atkbd would wait 200 ms")
            #expect(answer.data == 0xfe)
            #expect(answer.status & 0x40 != 0, "a time-out, as of a keyboard that is not there")
        }
        #expect(chip.accesses <= 50, "\(chip.accesses) accesses")
    }

    @Test func theControllerTestsItself() throws {
        let chip = try I8042Driver()
        #expect(chip.command(0xaa, answers: true) == 0x55)
        #expect(chip.command(0xab, answers: true) == 0x00)
        #expect(chip.command(0xa4, answers: true) == 0xf1)
        #expect(chip.command(0xc0, answers: true) == 0x80)
        #expect(chip.command(0xd0, answers: true) == 0x03)
        #expect(chip.command(0xd2, parameter: 0x77, answers: true) == 0x77)
        #expect(chip.command(0xd4, parameter: 0xf4, answers: true) == 0xfe)
        #expect(chip.status() & 0x01 == 0)
    }

    @Test func memoryKeepsWhatIsWritten() throws {
        let chip = try I8042Driver()
        for index in 1..<32 as Range<UInt8> { _ = chip.command(0x60 + index, parameter: index &* 3, answers: false) }
        for index in 1..<32 as Range<UInt8> { #expect(chip.command(0x20 + index, answers: true) == index &* 3) }
        _ = chip.command(0xad, answers: false)
        #expect(chip.command(0x20, answers: true) == 0x55)
        _ = chip.command(0xae, answers: false)
        #expect(chip.command(0x20, answers: true) == 0x45)
    }

    /// `kb_wait` and `outb(0xfe, 0x64)`.
    @Test func rebootByKeyboardResets() throws {
        let chip = try I8042Driver()
        #expect(chip.status() & 0x02 == 0)
        #expect(chip.command(0xfe) == .reset)
        #expect(chip.accesses == 2)
    }

    @Test func theOutputPortResetsToo() throws {
        let chip = try I8042Driver()
        chip.command(0xd1)
        #expect(chip.write(0x02) == .reset)
        chip.command(0xd1)
        #expect(chip.write(0x03) == .none)
        #expect(chip.command(0xff) == .none)
    }

    @Test func everyPortTakesEveryValue() throws {
        let chip = try I8042Driver()
        var resets = 0
        for size in [1, 2, 4, 8] {
            for offset in 0..<8 as Range<UInt64> {
                for value in 0..<256 as Range<UInt64> {
                    if chip.controller.write(at: offset, size: size, value: value) == .reset { resets += 1 }
                    #expect(chip.controller.read(at: offset, size: size) <= 0xff)
                    #expect(chip.status() & 0x02 == 0)
                }
            }
        }
        // The eight even values that pulse the reset line, in four widths.
        #expect(resets == 32)
        #expect(chip.controller.read(at: 1, size: 1) == 0x20)
        #expect(chip.controller.read(at: .max, size: 1) == 0xff)
    }
}

@Suite struct PanicPortTests {
    @Test(
        arguments: [
            (1, .panicked), (3, .panicked), (2, .crashLoaded), (0, .none), (4, .none), (0xfc, .none),
            (0xff, .panicked), (0x100, .none),
        ] as [(UInt64, BusAction)])
    func tellsOfAPanic(value: UInt64, action: BusAction) {
        let port = PVPanic()
        for size in [1, 2, 4, 8] { #expect(port.write(at: 0, size: size, value: value) == action) }
        #expect(port.read(at: 0, size: 1) == 3)
    }
}

@Suite struct PowerControlTests {
    @Test func softOffCutsThePowerAndTheResetRegisterResets() {
        let power = ACPIPowerRegisters(BoardLayout.microvm.power)
        #expect(power.write(at: 1, size: 1, value: 0x80) == .none)
        #expect(power.write(at: 0, size: 1, value: 0x34) == .powerOff)
        #expect(power.write(at: 2, size: 1, value: 1) == .reset)
    }

    @Test func theBoardSaysWhereTheyAre() {
        let power = ACPIPowerRegisters(
            BoardLayout.PowerRegisters(
                .ports(0x20, count: 8), sleepControl: 0x24, sleepStatus: 0x25, reset: 0x20, resetValue: 9, softOff: 3))
        #expect(power.write(at: 4, size: 1, value: 0x20 | 3 << 2) == .powerOff)
        #expect(power.write(at: 0, size: 1, value: 9) == .reset)
        #expect(power.write(at: 0, size: 1, value: 0x34) == .none)
        #expect(power.write(at: 2, size: 1, value: 1) == .none)
    }

    @Test func nothingElseDoes() {
        let power = ACPIPowerRegisters(BoardLayout.microvm.power)
        var actions: [BusAction] = []
        for size in [1, 2, 4, 8] {
            for offset in 0..<5 as Range<UInt64> {
                for value in 0..<256 as Range<UInt64> {
                    let action = power.write(at: offset, size: size, value: value)
                    if action != .none { actions.append(action) }
                    #expect(power.read(at: offset, size: size) == 0)
                }
            }
        }
        // Four bits of the register mean nothing, so 16 values say "sleep" and "S5".
        #expect(actions.filter { $0 == .powerOff }.count == 64)
        #expect(actions.filter { $0 == .reset }.count == 4)
    }
}

/// The controller's state as a value: another controller continues from it.
@Suite struct I8042StateTests {
    @Test func anotherControllerContinues() throws {
        let source = try I8042Driver()
        source.command(0x65)
        source.write(0xa5)
        source.command(0x60)
        source.write(0x03)
        source.write(0xf4)
        source.command(0xd2)
        let state = source.controller.state
        let copy = try I8042Driver()
        try copy.controller.restore(state)
        #expect(copy.controller.state == state)
        // The output that the guest has not read interrupts again.
        copy.reactor.turn(waiting: false)
        copy.reactor.turn(waiting: false)
        #expect(copy.interrupt.takeRaised() == 1)
        for driver in [source, copy] {
            #expect(driver.status() & 0x41 == 0x41)
            #expect(driver.data() == 0xfe)
            driver.write(0x77)
            #expect(driver.data() == 0x77)
            driver.command(0x25)
            #expect(driver.data() == 0xa5)
        }
        #expect(copy.controller.state == source.controller.state)
    }

    @Test(
        arguments: [
            { $0.memory = [] }, { $0.memory.append(0) }, { $0.outputStatus = 0x02 }, { $0.waiting = 0xaa },
            { $0.waiting = 0x20 },
        ] as [@Sendable (inout I8042.State) -> Void])
    func aHostileStateIsRefused(change: @Sendable (inout I8042.State) -> Void) throws {
        let driver = try I8042Driver()
        let before = driver.controller.state
        var state = before
        change(&state)
        #expect(throws: PlatformStateError.self) { try driver.controller.restore(state) }
        #expect(driver.controller.state == before)
    }
}
