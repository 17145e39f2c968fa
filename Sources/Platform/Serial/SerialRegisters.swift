/// The registers of a 16550A by offset; `LineControl.divisorLatch` changes the meaning of the first two.
enum SerialRegister {
    /// RBR when read, THR when written; DLL behind the divisor latch.
    static let data = 0
    /// IER; DLM behind the divisor latch.
    static let interruptEnable = 1
    /// IIR when read, FCR when written.
    static let interruptIdentity = 2
    static let lineControl = 3
    static let modemControl = 4
    static let lineStatus = 5
    static let modemStatus = 6
    static let scratch = 7

    /// Those that can be read without effect.
    static let publishable = [interruptEnable, lineControl, modemControl, lineStatus, modemStatus, scratch]
}

/// IER: the conditions that raise the interrupt.
struct InterruptEnable: OptionSet {
    let rawValue: UInt8

    static let receivedData = InterruptEnable(rawValue: 1)
    static let transmitterEmpty = InterruptEnable(rawValue: 2)
    static let lineStatus = InterruptEnable(rawValue: 4)
    static let modemStatus = InterruptEnable(rawValue: 8)
    static let all: InterruptEnable = [.receivedData, .transmitterEmpty, .lineStatus, .modemStatus]
}

/// IIR: the most urgent pending condition. Bits 6 and 7 are set while the FIFOs are enabled.
enum InterruptIdentity {
    static let modemStatus: UInt8 = 0
    static let none: UInt8 = 1
    static let transmitterEmpty: UInt8 = 2
    static let receivedData: UInt8 = 4
    static let lineStatus: UInt8 = 6
    static let fifosEnabled: UInt8 = 0xc0
}

/// FCR: the FIFOs.
struct FIFOControl: OptionSet {
    let rawValue: UInt8

    static let enable = FIFOControl(rawValue: 1)
    static let clearReceiver = FIFOControl(rawValue: 2)
}

/// LCR: the frame's format, which has no effect here, and the divisor latch.
struct LineControl: OptionSet {
    let rawValue: UInt8

    static let divisorLatch = LineControl(rawValue: 0x80)
}

/// MCR: the port's outputs to the modem, and the loopback mode that connects them to its inputs.
struct ModemControl: OptionSet {
    let rawValue: UInt8

    static let terminalReady = ModemControl(rawValue: 1)
    static let requestToSend = ModemControl(rawValue: 2)
    static let output1 = ModemControl(rawValue: 4)
    static let output2 = ModemControl(rawValue: 8)
    static let loopback = ModemControl(rawValue: 0x10)
    static let all: ModemControl = [.terminalReady, .requestToSend, .output1, .output2, .loopback]
}

/// LSR: the receiver's state; the transmitter is always ready.
struct LineStatus: OptionSet {
    let rawValue: UInt8

    static let dataReady = LineStatus(rawValue: 1)
    static let overrun = LineStatus(rawValue: 2)
    static let holdingEmpty = LineStatus(rawValue: 0x20)
    static let transmitterEmpty = LineStatus(rawValue: 0x40)
}

/// MSR: the modem's lines in the upper half, and their changes since the last read in the lower half.
struct ModemStatus: OptionSet {
    let rawValue: UInt8

    static let clearToSend = ModemStatus(rawValue: 0x10)
    static let dataSetReady = ModemStatus(rawValue: 0x20)
    static let ring = ModemStatus(rawValue: 0x40)
    static let carrier = ModemStatus(rawValue: 0x80)
    /// The lines of a modem that is always ready.
    static let connected: ModemStatus = [.clearToSend, .dataSetReady, .carrier]

    /// The lines in loopback: the port's own outputs.
    init(loopedBack control: ModemControl) {
        var lines: ModemStatus = []
        if control.contains(.requestToSend) { lines.insert(.clearToSend) }
        if control.contains(.terminalReady) { lines.insert(.dataSetReady) }
        if control.contains(.output1) { lines.insert(.ring) }
        if control.contains(.output2) { lines.insert(.carrier) }
        self = lines
    }

    init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// The lower half after a change of the lines from `old` to `new`; the ring line counts when it falls.
    static func changes(from old: ModemStatus, to new: ModemStatus) -> UInt8 {
        var changed = old.symmetricDifference(new)
        if new.contains(.ring) { changed.remove(.ring) }
        return changed.rawValue >> 4
    }
}
