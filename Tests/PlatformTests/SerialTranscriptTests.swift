import Testing

@testable import Platform

/// The port as Linux's 8250 driver uses it, step by step.
@Suite struct SerialTranscriptTests {
    /// `autoconfig`: finds a 16550A, and nothing that is more than that.
    @Test func probingFindsA16550A() throws {
        let rig = try SerialRig()
        rig.write(.ier, 0)
        #expect(rig.read(.ier) & 0x0f == 0)
        rig.write(.ier, 0x0f)
        #expect(rig.read(.ier) & 0x0f == 0x0f)
        rig.write(.ier, 0)

        rig.write(.mcr, 0x1a)
        #expect(rig.read(.msr) & 0xf0 == 0x90, "the loopback test")
        rig.write(.mcr, 0x08)

        rig.write(.lcr, 0xbf)
        rig.write(.fcr, 0)
        rig.write(.lcr, 0)
        rig.write(.fcr, 0x01)
        #expect(rig.read(.iir) >> 6 == 3, "a 16550A with working FIFOs")

        // The enhanced feature register of a 16650 and later would read as zero.
        rig.write(.lcr, 0x80)
        #expect(rig.read(.fcr) != 0)
        rig.write(.lcr, 0xbf)
        #expect(rig.read(.fcr) != 0)

        // A National chip shows its modem control there.
        rig.write(.lcr, 0)
        let control = rig.read(.mcr)
        rig.write(.lcr, 0xe0)
        #expect((rig.read(.fcr) ^ control) & 0x10 == 0)
        rig.write(.lcr, 0)
        rig.write(.mcr, control ^ 0x10)
        rig.write(.lcr, 0xe0)
        #expect((rig.read(.fcr) ^ control) & 0x10 == 0)
        rig.write(.lcr, 0)
        rig.write(.mcr, control)

        // A 16750 would show its 64-byte FIFO.
        rig.write(.fcr, 0x21)
        #expect(rig.read(.iir) >> 5 & 7 == 6)
        rig.write(.fcr, 0x01)
        rig.write(.lcr, 0x80)
        rig.write(.fcr, 0x21)
        #expect(rig.read(.iir) >> 5 & 7 == 6)
        rig.write(.lcr, 0)

        // An XScale UART keeps bit 6 of the interrupt enable register.
        rig.write(.ier, 0x40)
        #expect(rig.read(.ier) & 0x40 == 0)
        rig.port.flush()
        #expect(rig.line.sent.isEmpty)
    }

    /// `serial8250_do_startup`: neither the THRE nor the TXEN bug is found.
    @Test func startingUpFindsNoBugs() throws {
        let rig = try startUp()
        rig.write(.ier, 0x05)
        #expect(rig.turn() == 0)
        #expect(rig.read(.iir) == 0xc1)
    }

    private func startUp() throws -> SerialRig {
        let rig = try SerialRig()
        for control: UInt8 in [0x01, 0x07, 0x00] { rig.write(.fcr, control) }
        for register: SerialRig.Register in [.lsr, .data, .iir, .msr] { _ = rig.read(register) }
        #expect(rig.read(.lsr) != 0xff)
        rig.write(.lcr, 0x03)

        // serial8250_THRE_test: the interrupt comes again when it is enabled again.
        #expect(rig.read(.lsr) & 0x60 == 0x60)
        rig.write(.ier, 0x02)
        #expect(rig.read(.iir) & 0x0f == 0x02)
        rig.write(.ier, 0)
        rig.write(.ier, 0x02)
        #expect(rig.read(.iir) & 0x0f == 0x02)
        rig.write(.ier, 0)

        // The TXEN test.
        rig.write(.mcr, 0x08)
        rig.write(.ier, 0x02)
        #expect(rig.read(.lsr) & 0x40 != 0)
        #expect(rig.read(.iir) & 0x01 == 0)
        rig.write(.ier, 0)
        for register: SerialRig.Register in [.lsr, .data, .iir, .msr] { _ = rig.read(register) }
        rig.write(.fcr, 0x01)
        _ = rig.turn()
        return rig
    }

    /// `serial8250_console_write` before a terminal is open: status, character, status, character.
    @Test func theConsoleWritesWithoutWaiting() throws {
        let rig = try SerialRig()
        let enabled = rig.read(.ier)
        rig.write(.ier, 0)
        for byte in "[    0.000000] Linux\r\n".utf8 {
            #expect(rig.read(.lsr) & 0x60 == 0x60)
            rig.write(.data, byte)
        }
        rig.write(.ier, enabled)
        rig.port.flush()
        #expect(rig.line.sent == Array("[    0.000000] Linux\r\n".utf8))
        #expect(rig.turn() == 0)
    }

    /// A terminal's output flows at 16 characters for each turn of the handler, whether the handler looks again
    /// before the interrupt comes (`looksAgain`) or leaves after each FIFO.
    @Test(arguments: [false, true]) func aTerminalWritesSixteenCharactersAnInterrupt(looksAgain: Bool) throws {
        let rig = try startUp()
        rig.write(.ier, 0x05)
        var rest = (0..<4000).map { UInt8(truncatingIfNeeded: $0) }[...]
        let text = Array(rest)
        // __start_tx
        rig.write(.ier, 0x07)
        var interrupts = 0
        var passes = 0
        var longest = 0
        while !rest.isEmpty {
            let raised = rig.turn()
            #expect(raised == 1, "the guest would wait for ever")
            guard raised == 1 else { break }
            interrupts += 1
            var inRow = 0
            // serial8250_interrupt
            while rig.read(.iir) & 1 == 0 {
                passes += 1
                inRow += 1
                #expect(rig.read(.lsr) & 0x20 != 0)
                _ = rig.read(.msr)
                for byte in rest.prefix(16) { rig.write(.data, byte) }
                rest = rest.dropFirst(16)
                if rest.isEmpty { rig.write(.ier, 0x05) }
                if !looksAgain { break }
            }
            longest = max(longest, inRow)
        }
        rig.port.flush()
        #expect(rig.line.sent == text)
        #expect(passes == 250)
        #expect(longest <= SerialPort.longestBurst, "Linux complains of too much work after 512")
        // A handler that leaves early meets the limit of a burst now and then, and is called once more.
        #expect(interrupts == (looksAgain ? 16 : 265))
        #expect(rig.turn() == 0)
        #expect(rig.read(.iir) == 0xc1)
    }

    /// `serial8250_rx_chars`: everything that was typed, with one interrupt.
    @Test func aTerminalReads() throws {
        let rig = try startUp()
        rig.write(.ier, 0x05)
        rig.line.type(Array("root\n".utf8))
        #expect(rig.turn() == 1)
        var typed: [UInt8] = []
        while rig.read(.iir) & 1 == 0 {
            while rig.read(.lsr) & 0x01 != 0 { typed.append(rig.read(.data)) }
        }
        #expect(typed == Array("root\n".utf8))
        #expect(rig.turn() == 0)
    }
}
