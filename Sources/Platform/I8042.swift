package import Bus

/// An i8042 keyboard controller without a keyboard: five ports, from the data port to the command port. Its use is the
/// reset line: `reboot=k`.
///
/// It answers every command at once. A byte for the keyboard times out at once, so a driver's probe takes a few dozen
/// accesses. There is no second (mouse) port, and probes for one fail.
package final class I8042: BusDevice {
    private enum Offset {
        static let data: UInt64 = 0
        /// The PC's system control port B, between the controller's two.
        static let systemControl: UInt64 = 1
        static let command: UInt64 = 4
    }

    /// Status register, read at the command port.
    private enum Status {
        static let outputFull: UInt8 = 0x01
        static let systemFlag: UInt8 = 0x04
        static let lastWasCommand: UInt8 = 0x08
        static let notLocked: UInt8 = 0x10
        static let secondPort: UInt8 = 0x20
        static let timeOut: UInt8 = 0x40
    }

    /// Configuration byte, the first of the controller's internal memory.
    private enum Configuration {
        static let interrupt: UInt8 = 0x01
        static let systemFlag: UInt8 = 0x04
        static let disabled: UInt8 = 0x10
        static let translated: UInt8 = 0x40
    }

    /// The commands of the command port.
    private enum Command {
        static let readMemory: ClosedRange<UInt8> = 0x20...0x3f
        static let writeMemory: ClosedRange<UInt8> = 0x60...0x7f
        static let testPassword: UInt8 = 0xa4
        static let testSecondPort: UInt8 = 0xa9
        static let testController: UInt8 = 0xaa
        static let testFirstPort: UInt8 = 0xab
        static let disableFirstPort: UInt8 = 0xad
        static let enableFirstPort: UInt8 = 0xae
        static let readInputPort: UInt8 = 0xc0
        static let readOutputPort: UInt8 = 0xd0
        static let writeOutputPort: UInt8 = 0xd1
        static let writeFirstOutput: UInt8 = 0xd2
        static let writeSecondOutput: UInt8 = 0xd3
        static let writeSecondPort: UInt8 = 0xd4
        static let pulseOutputPort: ClosedRange<UInt8> = 0xf0...0xff
    }

    /// Bit 0 of the output port, and of the lines to pulse: low resets the CPU.
    private static let resetLine: UInt8 = 0x01
    /// Reset line high, A20 enabled.
    private static let idleOutputPort: UInt8 = 0x03
    /// The answer for a device that times out: "resend".
    private static let resend: UInt8 = 0xfe

    private let interrupt: InterruptLine
    private var memory = InlineArray<32, UInt8>(repeating: 0)
    private var output: UInt8 = 0
    private var outputStatus: UInt8 = 0
    private var lastWasCommand: UInt8 = 0
    /// The command that takes the next write to the data port as its parameter.
    private var waiting: UInt8?

    /// - Parameter interrupt: IRQ 1, raised for output if the driver has enabled it.
    package init(interrupt: InterruptLine) {
        self.interrupt = interrupt
        memory[0] = Configuration.interrupt | Configuration.systemFlag | Configuration.translated
    }

    package func read(at offset: UInt64, size: Int) -> UInt64 {
        switch offset {
        case Offset.data:
            outputStatus = 0
            return UInt64(output)
        case Offset.systemControl:
            // Timer 2 has always expired, so that no guest waits for it.
            return 0x20
        case Offset.command:
            return UInt64(outputStatus | memory[0] & Status.systemFlag | lastWasCommand | Status.notLocked)
        default:
            return 0xff
        }
    }

    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        let byte = UInt8(truncatingIfNeeded: value)
        switch offset {
        case Offset.data:
            lastWasCommand = 0
            return takeData(byte)
        case Offset.command:
            lastWasCommand = Status.lastWasCommand
            return run(byte)
        default:
            return .none
        }
    }

    /// Runs a command, or waits for its parameter.
    private func run(_ command: UInt8) -> BusAction {
        waiting = nil
        switch command {
        case Command.readMemory: reply(memory[Int(command & 0x1f)])
        case _ where Self.takesParameter(command): waiting = command
        case Command.testPassword: reply(0xf1)  // none is set
        case Command.testSecondPort: reply(0x01)  // its clock line is stuck: there is no such port
        case Command.testController: reply(0x55)  // passed
        case Command.testFirstPort: reply(0x00)  // passed
        case Command.disableFirstPort: memory[0] |= Configuration.disabled
        case Command.enableFirstPort: memory[0] &= ~Configuration.disabled
        case Command.readInputPort: reply(0x80)  // keyboard not locked
        case Command.readOutputPort: reply(Self.idleOutputPort | (outputStatus & Status.outputFull) << 4)
        case Command.pulseOutputPort where command & Self.resetLine == 0: return .reset
        default: break
        }
        return .none
    }

    private static func takesParameter(_ command: UInt8) -> Bool {
        Command.writeMemory ~= command || Command.writeOutputPort...Command.writeSecondPort ~= command
    }

    /// Takes a command's parameter, or a byte for the keyboard.
    private func takeData(_ byte: UInt8) -> BusAction {
        switch waiting.take() {
        case Command.writeOutputPort: return byte & Self.resetLine == 0 ? .reset : .none
        case Command.writeFirstOutput, Command.writeSecondOutput: reply(byte)
        case Command.writeSecondPort: reply(Self.resend, Status.timeOut | Status.secondPort)
        case let command?: memory[Int(command & 0x1f)] = byte
        case nil: reply(Self.resend, Status.timeOut)
        }
        return .none
    }

    /// Puts a byte into the output buffer, in place of one that the guest has not read.
    private func reply(_ byte: UInt8, _ flags: UInt8 = 0) {
        output = byte
        outputStatus = Status.outputFull | flags
        raiseIfEnabled()
    }

    private func raiseIfEnabled() {
        if memory[0] & Configuration.interrupt != 0 { interrupt.raise() }
    }
}

// MARK: State

extension I8042 {
    /// The controller's registers.
    package struct State: Equatable, Sendable {
        /// The 32 bytes of internal memory.
        package var memory: [UInt8]
        /// The output buffer.
        package var output: UInt8
        /// The bits of the status register that describe the output buffer.
        package var outputStatus: UInt8
        /// Whether the last write went to the command port.
        package var lastWasCommand: Bool
        /// The command that waits for its parameter.
        package var waiting: UInt8?

        /// A state with these values.
        package init(
            memory: [UInt8], output: UInt8, outputStatus: UInt8, lastWasCommand: Bool, waiting: UInt8?
        ) {
            self.memory = memory
            self.output = output
            self.outputStatus = outputStatus
            self.lastWasCommand = lastWasCommand
            self.waiting = waiting
        }
    }

    /// The controller's state.
    package var state: State {
        State(
            memory: memory.indices.map { memory[$0] }, output: output, outputStatus: outputStatus,
            lastWasCommand: lastWasCommand != 0, waiting: waiting)
    }

    /// Takes over the state of another controller, and raises the interrupt again for output that waits.
    ///
    /// - Throws: for a state that no controller can have; this one keeps its own then.
    package func restore(_ state: State) throws(PlatformStateError) {
        guard state.memory.count == memory.count else {
            throw PlatformStateError(
                "the controller's memory has \(state.memory.count) bytes instead of \(memory.count)")
        }
        let known = Status.outputFull | Status.secondPort | Status.timeOut
        guard state.outputStatus & ~known == 0 else {
            throw PlatformStateError("the output status 0x\(String(state.outputStatus, radix: 16)) has unknown bits")
        }
        if let waiting = state.waiting, !Self.takesParameter(waiting) {
            throw PlatformStateError("the command 0x\(String(waiting, radix: 16)) has no parameter to wait for")
        }
        for index in memory.indices { memory[index] = state.memory[index] }
        output = state.output
        outputStatus = state.outputStatus
        lastWasCommand = state.lastWasCommand ? Status.lastWasCommand : 0
        waiting = state.waiting
        if outputStatus & Status.outputFull != 0 { raiseIfEnabled() }
    }
}
