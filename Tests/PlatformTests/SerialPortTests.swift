import Bus
import EventLoop
import Host
import Testing

@testable import Platform

@Suite struct SerialPortTests {
    @Test func outputLeavesInBatchesWithoutBlockingTheGuest() throws {
        let rig = try SerialRig()
        rig.write("Linux version 6.1\r\n")
        #expect(rig.read(.lsr) == 0x60)
        #expect(rig.line.batches == 0)
        while rig.line.batches == 0 { rig.reactor.turn(waiting: true) }
        #expect(rig.line.sent == Array("Linux version 6.1\r\n".utf8))
        #expect(rig.line.batches == 1)
    }

    @Test func aFullCollectionLeavesAtOnceAndTheRestWithFlush() throws {
        let rig = try SerialRig()
        for index in 0..<10_000 { rig.write(.data, UInt8(truncatingIfNeeded: index)) }
        #expect(rig.line.batches == 2)
        rig.port.flush()
        rig.port.flush()
        #expect(rig.line.batches == 3)
        #expect(rig.line.sent == (0..<10_000).map { UInt8(truncatingIfNeeded: $0) })
    }

    @Test func theDivisorLatchCoversDataAndInterruptEnable() throws {
        let rig = try SerialRig()
        rig.write(.ier, 0x05)
        rig.write(.lcr, 0x83)
        #expect(rig.read(.data) == 12)
        rig.write(.data, 0x34)
        rig.write(.ier, 0x12)
        #expect(rig.read(.data) == 0x34)
        #expect(rig.read(.ier) == 0x12)
        rig.write(.lcr, 0x03)
        #expect(rig.read(.ier) == 0x05)
        #expect(rig.line.sent.isEmpty)
    }

    @Test func receivedCharactersInterruptOnceAndComeInOrder() throws {
        let rig = try SerialRig()
        rig.write(.fcr, 0x01)
        rig.write(.ier, 0x01)
        #expect(rig.turn() == 0)
        rig.line.type(Array("ab".utf8))
        rig.line.type(Array("c".utf8))
        #expect(rig.turn() == 1)
        #expect(rig.read(.iir) == 0xc4)
        #expect(rig.read(.lsr) == 0x61)
        #expect((0..<3).map { _ in rig.read(.data) } == Array("abc".utf8))
        #expect(rig.read(.lsr) == 0x60)
        #expect(rig.read(.iir) == 0xc1)
        rig.line.type(Array("d".utf8))
        #expect(rig.turn() == 1)
    }

    @Test func aSlowGuestHoldsTheLineBackAndLosesNothing() throws {
        let rig = try SerialRig()
        let text = (0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        rig.line.type(text)
        #expect(rig.line.waiting.count == text.count - ReceiveFIFO.capacity)
        var received: [UInt8] = []
        while received.count < text.count {
            #expect(rig.read(.lsr) & 0x01 != 0)
            received.append(rig.read(.data))
            _ = rig.turn()
        }
        #expect(received == text)
        #expect(rig.read(.lsr) == 0x60)
    }

    @Test func loopbackLeadsCharactersAndLinesBackToThePort() throws {
        let rig = try SerialRig()
        #expect(rig.read(.msr) == 0xb0)
        for (control, lines) in [(0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80), (0x1f, 0xf0)]
            as [(UInt8, UInt8)]
        {
            rig.write(.mcr, control)
            #expect(rig.read(.msr) & 0xf0 == lines)
        }
        rig.write(.data, 0x41)
        #expect(rig.read(.lsr) == 0x61)
        #expect(rig.read(.data) == 0x41)
        rig.line.type([0x42])
        #expect(rig.read(.lsr) == 0x60)
        rig.write(.mcr, 0x0b)
        _ = rig.turn()
        #expect(rig.read(.data) == 0x42)
        rig.port.flush()
        #expect(rig.line.sent.isEmpty)
    }

    @Test func loopbackWithSomebodyTypingDoesNotSpin() throws {
        let rig = try SerialRig()
        rig.write(.mcr, 0x10)
        rig.line.type([0x42])
        _ = rig.turn()
        // A port that kept asking for more would never let the reactor sleep.
        let sleeper = Sleeper()
        rig.reactor.submit(.timeout(at: Clock.monotonic + 20_000_000), for: sleeper)
        var turns = 0
        while !sleeper.isAwake {
            rig.reactor.turn(waiting: true)
            turns += 1
        }
        #expect(turns < 5)
        #expect(rig.line.waiting == [0x42])
    }

    @Test func overrunInLoopbackIsReportedOnceWithItsInterrupt() throws {
        let rig = try SerialRig()
        rig.write(.ier, 0x05)
        rig.write(.mcr, 0x10)
        for _ in 0...ReceiveFIFO.capacity { rig.write(.data, 0) }
        #expect(rig.turn() == 1)
        #expect(rig.read(.iir) == 0x06)
        #expect(rig.read(.lsr) == 0x63)
        #expect(rig.read(.lsr) == 0x61)
        #expect(rig.read(.iir) == 0x04)
    }

    @Test func modemChangesInterruptUntilRead() throws {
        let rig = try SerialRig()
        rig.write(.ier, 0x08)
        rig.write(.mcr, 0x10)
        #expect(rig.turn() == 1)
        #expect(rig.read(.iir) == 0x00)
        #expect(rig.read(.msr) == 0x0b)
        #expect(rig.read(.iir) == 0x01)
        // Ring counts only when it ends.
        rig.write(.mcr, 0x14)
        #expect(rig.read(.msr) == 0x40)
        rig.write(.mcr, 0x10)
        #expect(rig.read(.msr) == 0x04)
    }

    @Test func clearingTheReceiverDropsWhatHasArrived() throws {
        let rig = try SerialRig()
        for control: UInt8 in [0x01, 0x03, 0x00] {
            rig.line.type([1, 2, 3])
            rig.write(.fcr, control)
            #expect(rig.read(.lsr) == 0x60)
        }
    }

    @Test func anotherInterruptNeedsTheLineToFallFirst() throws {
        let rig = try SerialRig()
        rig.write(.ier, 0x03)
        #expect(rig.turn() == 1)
        rig.line.type([1])
        rig.write("x")
        #expect(rig.turn() == 0)
        #expect(rig.read(.iir) == 0x04)
        _ = rig.read(.data)
        #expect(rig.read(.iir) == 0x02)
        #expect(rig.read(.iir) == 0x01)
        rig.write("x")
        #expect(rig.turn() == 1)
    }

    @Test func anInterruptAnsweredInTheSameTurnIsNotRaised() throws {
        let rig = try SerialRig()
        rig.write(.ier, 0x02)
        #expect(rig.read(.iir) == 0x02)
        #expect(rig.turn() == 0)
        rig.write(String(repeating: "x", count: 16))
        #expect(rig.turn() == 1)
    }

    @Test func anInterruptStormEndsInOneInterruptATurn() throws {
        let rig = try SerialRig()
        for _ in 0..<10_000 {
            rig.write(.ier, 0x00)
            rig.write(.ier, 0x0f)
        }
        #expect(rig.turn() == 1)
    }

    /// Case 33 of the hostile cases: every register with every value, in every width, in every state of the latch.
    @Test(arguments: [1, 2, 4, 8]) func everyRegisterTakesEveryValue(size: Int) throws {
        let rig = try SerialRig()
        for offset in 0..<8 as Range<UInt64> {
            for value in 0..<256 as Range<UInt64> {
                #expect(rig.port.write(at: offset, size: size, value: value &* 0x0101_0101_0101_0101) == .none)
                #expect(rig.port.read(at: offset, size: size) <= UInt64.max >> UInt64(64 - 8 * size))
                // Whatever was written, the guest never waits, and reserved bits stay clear.
                #expect(rig.read(.lsr) & 0x9c == 0)
                #expect(rig.read(.lsr) & 0x60 == 0x60)
                #expect(rig.read(.mcr) & 0xe0 == 0)
                #expect(rig.read(.iir) & 0x30 == 0)
            }
        }
        _ = rig.turn()
    }

    @Test(arguments: [0, 3, 7, 8, 100, UInt64.max] as [UInt64])
    func anOddAccessReadsOnesBeyondThePort(offset: UInt64) throws {
        let rig = try SerialRig()
        #expect(rig.port.write(at: offset, size: 8, value: 0) == .none)
        let value = rig.port.read(at: offset, size: 8)
        if offset > 7 { #expect(value == .max) }
        if offset == 7 { #expect(value == 0xffff_ffff_ffff_ff00) }
        _ = rig.port.read(at: offset, size: 0)
        _ = rig.port.read(at: offset, size: .max)
    }
}

/// Waits for a time-out.
private final class Sleeper: RingClient {
    var isAwake = false

    override func operationCompleted(tag: UInt32, result: Int32) { isAwake = true }
}

/// What a vCPU reads without asking must always be what the port would have answered.
@Suite struct SerialPublishedTests {
    @Test func publishedRegistersFollowThePort() throws {
        let rig = try SerialRig()
        let published = rig.port.published
        var seed: UInt64 = 42
        for _ in 0..<20_000 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let register = seed >> 33 & 7
            if seed >> 40 & 7 == 0 { rig.line.type([1, 2, 3]) }
            if seed >> 45 & 1 == 0 {
                rig.write(SerialRig.Register.allCases[Int(register)], UInt8(truncatingIfNeeded: seed >> 50))
            }
            #expect(published.load(at: 0, size: 1) == nil && published.load(at: 2, size: 1) == nil)
            for register in SerialRig.Register.allCases {
                if let value = published.load(at: register.rawValue, size: 1) {
                    #expect(value == UInt32(rig.read(register)))
                }
            }
        }
    }

    @Test func registersWhoseReadHasAnEffectAreWithdrawn() throws {
        let rig = try SerialRig()
        #expect(rig.port.published.load(at: 5, size: 1) == 0x60)
        #expect(rig.port.published.load(at: 6, size: 1) == 0xb0)
        rig.write(.mcr, 0x10)
        #expect(rig.port.published.load(at: 5, size: 1) == nil)
        #expect(rig.port.published.load(at: 6, size: 1) == nil)
        _ = rig.read(.msr)
        #expect(rig.port.published.load(at: 6, size: 1) == 0)
        #expect(rig.port.published.load(at: 8, size: 1) == nil)
        #expect(rig.port.published.load(at: .max, size: 1) == nil)
        #expect(rig.port.published.load(at: 5, size: 2) == nil)
    }
}

/// A port's state as a value: another port continues from it.
@Suite struct SerialStateTests {
    /// A port in the middle of everything: DLAB values, two characters unread, one lost, interrupts enabled.
    private func busy() throws -> SerialRig {
        let rig = try SerialRig()
        rig.write(.lcr, 0x83)
        rig.write(.data, 0x34)
        rig.write(.ier, 0x12)
        rig.write(.lcr, 0x1b)
        rig.write(.fcr, 0x01)
        rig.write(.ier, 0x0d)
        rig.write(.mcr, 0x0b)
        rig.write(.scr, 0x5a)
        rig.write("out")
        rig.line.type(Array("xyz".utf8))
        #expect(rig.read(.data) == UInt8(ascii: "x"))
        return rig
    }

    /// All that a guest can read, in an order that changes the port as little as possible.
    private func registers(_ rig: SerialRig) -> [UInt8] {
        let plain = [SerialRig.Register.lcr, .mcr, .scr, .ier, .lsr, .msr, .iir].map { rig.read($0) }
        rig.write(.lcr, 0x80)
        let divisor = [rig.read(.data), rig.read(.ier)]
        rig.write(.lcr, plain[0])
        return plain + divisor + (0..<4).map { _ in rig.read(.data) }
    }

    @Test func anotherPortContinues() throws {
        let source = try busy()
        let state = source.port.saveState()
        #expect(source.line.sent == Array("out".utf8))
        let copy = try SerialRig()
        try copy.port.restore(state)
        #expect(copy.port.saveState() == state)
        // The characters that wait interrupt the guest again.
        #expect(copy.turn() == 1)
        #expect(registers(copy) == registers(source))
        copy.line.type(Array("!".utf8))
        #expect(copy.turn() == 1)
        #expect(copy.read(.data) == UInt8(ascii: "!"))
        #expect(copy.line.sent.isEmpty)
    }

    @Test func aPendingTransmitterInterruptIsRaisedAgain() throws {
        let source = try SerialRig()
        source.write(.ier, 0x02)
        #expect(source.turn() == 1)
        let copy = try SerialRig()
        try copy.port.restore(source.port.saveState())
        #expect(copy.turn() == 1)
        #expect(copy.read(.iir) == 0x02)
        #expect(copy.read(.iir) == 0x01)
        #expect(copy.turn() == 0)
    }

    @Test func publishedRegistersFollow() throws {
        let source = try busy()
        let copy = try SerialRig()
        try copy.port.restore(source.port.saveState())
        for register in UInt64(0)..<8 {
            #expect(
                copy.port.published.load(at: register, size: 1) == source.port.published.load(at: register, size: 1))
        }
    }

    @Test(
        arguments: [
            { $0.interruptEnable = 0x10 }, { $0.fifoControl = 0x02 }, { $0.modemControl = 0x20 },
            { $0.modemChanges = 0x10 }, { $0.received = [UInt8](repeating: 0, count: 257) }, { $0.burst = -1 },
            { $0.burst = .max },
        ] as [@Sendable (inout SerialPort.State) -> Void])
    func aHostileStateIsRefused(change: @Sendable (inout SerialPort.State) -> Void) throws {
        let rig = try busy()
        let before = rig.port.saveState()
        var state = before
        change(&state)
        #expect(throws: PlatformStateError.self) { try rig.port.restore(state) }
        #expect(rig.port.saveState() == before)
    }
}
