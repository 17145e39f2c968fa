package import Bus
package import EventLoop
package import Host

/// A 16550A serial port: eight ports and one edge-triggered interrupt.
///
/// The transmitter is always empty: a slow reader on the host costs output, never the guest's time. Output is collected
/// and leaves in batches. The transmitter's interrupt comes at the end of the reactor's turn, so one interrupt serves a
/// whole FIFO, and a guest that reads IIR before then needs none.
package final class SerialPort: RingClient, BusDevice {
    /// How long output waits for more, in nanoseconds.
    static let flushDelay: UInt64 = 1_000_000
    /// The most FIFOs that the guest can fill from one interrupt before it must leave its handler.
    static let longestBurst = 16

    /// The registers that a vCPU's thread reads by itself. It need not wait either when it writes to the first one.
    package let published = PublishedRegisters(
        SerialRegister.publishable.map { .value(at: UInt64($0), size: 1) })

    private let reactor: Reactor
    private let interrupt: InterruptLine
    private let line: any SerialLine

    private var divisor: UInt16 = 12
    private var enabled: InterruptEnable = []
    private var fifoControl: FIFOControl = []
    private var lineControl: LineControl = []
    private var modemControl: ModemControl = []
    private var scratch: UInt8 = 0

    private var receiver = ReceiveFIFO()
    private var hasOverrun = false
    /// Whether the line offered more than the receiver could take.
    private var isHeldBack = false
    private var modemChanges: UInt8 = 0
    /// Whether the transmitter's interrupt is pending.
    private var transmitterRanEmpty = false
    /// How many times in a row the guest saw that interrupt.
    private var burst = 0

    private var isAsserted = false
    private var hasEdge = false

    private let transmitted = IOBuffer(capacity: 4096)
    private var transmittedCount = 0
    private var isFlushDue = false

    /// A port that sends its output to `line`.
    package init(_ reactor: Reactor, interrupt: InterruptLine, line: any SerialLine) {
        self.reactor = reactor
        self.interrupt = interrupt
        self.line = line
        super.init()
        publish()
    }

    // MARK: State

    /// The port's state; hands collected output to the line first.
    package func saveState() -> State {
        flush()
        return State(
            divisor: divisor, interruptEnable: enabled.rawValue, fifoControl: fifoControl.rawValue,
            lineControl: lineControl.rawValue, modemControl: modemControl.rawValue, scratch: scratch,
            received: receiver.bytes, hasOverrun: hasOverrun, modemChanges: modemChanges,
            transmitterRanEmpty: transmitterRanEmpty, burst: burst)
    }

    /// Takes over the state of another port, and raises the interrupt if a condition is pending.
    ///
    /// - Throws: for a state that no port can have; this port keeps its own then.
    package func restore(_ state: State) throws(PlatformStateError) {
        try state.check()
        divisor = state.divisor
        enabled = InterruptEnable(rawValue: state.interruptEnable)
        fifoControl = FIFOControl(rawValue: state.fifoControl)
        lineControl = LineControl(rawValue: state.lineControl)
        modemControl = ModemControl(rawValue: state.modemControl)
        scratch = state.scratch
        receiver.removeAll()
        for byte in state.received { _ = receiver.push(byte) }
        hasOverrun = state.hasOverrun
        modemChanges = state.modemChanges
        transmitterRanEmpty = state.transmitterRanEmpty
        burst = state.burst
        isAsserted = false
        refresh()
    }

    // MARK: Registers

    /// Reads consecutive registers, as a bus of one byte's width does.
    package func read(at offset: UInt64, size: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(max(size, 1), 8) {
            value |= UInt64(read(Int(clamping: offset.addingSaturating(index)))) << UInt64(8 * index)
        }
        refresh()
        return value
    }

    /// Writes consecutive registers, as a bus of one byte's width does.
    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        for index in 0..<min(max(size, 1), 8) {
            write(Int(clamping: offset.addingSaturating(index)), UInt8(truncatingIfNeeded: value >> UInt64(8 * index)))
        }
        refresh()
        return .none
    }

    private func read(_ register: Int) -> UInt8 {
        let latched = lineControl.contains(.divisorLatch)
        switch register {
        case SerialRegister.data:
            return latched ? UInt8(truncatingIfNeeded: divisor) : receiver.pop() ?? 0
        case SerialRegister.interruptEnable:
            return latched ? UInt8(truncatingIfNeeded: divisor >> 8) : enabled.rawValue
        case SerialRegister.interruptIdentity:
            return takeInterruptIdentity() | (fifoControl.contains(.enable) ? InterruptIdentity.fifosEnabled : 0)
        case SerialRegister.lineControl: return lineControl.rawValue
        case SerialRegister.modemControl: return modemControl.rawValue
        case SerialRegister.lineStatus:
            let status = lineStatus
            hasOverrun = false
            return status.rawValue
        case SerialRegister.modemStatus:
            let status = modemLines.rawValue | modemChanges
            modemChanges = 0
            return status
        case SerialRegister.scratch: return scratch
        default: return 0xff
        }
    }

    private func write(_ register: Int, _ value: UInt8) {
        let latched = lineControl.contains(.divisorLatch)
        switch register {
        case SerialRegister.data where latched: divisor = divisor & 0xff00 | UInt16(value)
        case SerialRegister.data: transmit(value)
        case SerialRegister.interruptEnable where latched: divisor = divisor & 0x00ff | UInt16(value) << 8
        case SerialRegister.interruptEnable:
            let wanted = InterruptEnable(rawValue: value).intersection(.all)
            // The transmitter is empty already, so enabling its interrupt raises it.
            if wanted.contains(.transmitterEmpty), !enabled.contains(.transmitterEmpty) { transmitterRanEmpty = true }
            enabled = wanted
        case SerialRegister.interruptIdentity:
            let control = FIFOControl(rawValue: value)
            let isSwitched = control.symmetricDifference(fifoControl).contains(.enable)
            if isSwitched || control.contains(.clearReceiver) { receiver.removeAll() }
            fifoControl = control.intersection(.enable)
        case SerialRegister.lineControl: lineControl = LineControl(rawValue: value)
        case SerialRegister.modemControl:
            let before = modemLines
            modemControl = ModemControl(rawValue: value).intersection(.all)
            modemChanges |= ModemStatus.changes(from: before, to: modemLines)
        case SerialRegister.scratch: scratch = value
        default: break
        }
    }

    private var lineStatus: LineStatus {
        var status: LineStatus = [.holdingEmpty, .transmitterEmpty]
        if !receiver.isEmpty { status.insert(.dataReady) }
        if hasOverrun { status.insert(.overrun) }
        return status
    }

    private var modemLines: ModemStatus {
        modemControl.contains(.loopback) ? ModemStatus(loopedBack: modemControl) : .connected
    }

    // MARK: Interrupts

    /// The most urgent enabled condition (16550A data sheet, table of interrupt identification).
    private var pendingInterrupt: UInt8 {
        if hasOverrun, enabled.contains(.lineStatus) { return InterruptIdentity.lineStatus }
        if !receiver.isEmpty, enabled.contains(.receivedData) { return InterruptIdentity.receivedData }
        if transmitterRanEmpty, enabled.contains(.transmitterEmpty) { return InterruptIdentity.transmitterEmpty }
        if modemChanges != 0, enabled.contains(.modemStatus) { return InterruptIdentity.modemStatus }
        return InterruptIdentity.none
    }

    /// IIR as the guest reads it, which answers the transmitter's interrupt.
    private func takeInterruptIdentity() -> UInt8 {
        let identity = pendingInterrupt
        guard identity == InterruptIdentity.transmitterEmpty else {
            if identity == InterruptIdentity.none { burst = 0 }
            return identity
        }
        guard burst < Self.longestBurst else {
            // A real transmitter would still be busy: the guest leaves its handler and gets another interrupt.
            burst = 0
            isAsserted = false
            return InterruptIdentity.none
        }
        burst += 1
        transmitterRanEmpty = false
        return identity
    }

    /// Publishes the registers and notes a rising interrupt line, after a change of state.
    private func refresh() {
        let isPending = pendingInterrupt != InterruptIdentity.none
        if isPending, !isAsserted {
            hasEdge = true
            reactor.schedule(self)
        } else if !isPending {
            hasEdge = false
        }
        isAsserted = isPending
        if wantsMore { reactor.schedule(self) }
        publish()
    }

    private func publish() {
        let latched = lineControl.contains(.divisorLatch)
        let second = latched ? UInt8(truncatingIfNeeded: divisor >> 8) : enabled.rawValue
        publish(second, at: SerialRegister.interruptEnable)
        publish(lineControl.rawValue, at: SerialRegister.lineControl)
        publish(modemControl.rawValue, at: SerialRegister.modemControl)
        // In loopback a posted write changes the status before the port has served it.
        let isSteady = !hasOverrun && !modemControl.contains(.loopback)
        publish(isSteady ? lineStatus.rawValue : nil, at: SerialRegister.lineStatus)
        publish(modemChanges == 0 ? modemLines.rawValue : nil, at: SerialRegister.modemStatus)
        publish(scratch, at: SerialRegister.scratch)
    }

    private func publish(_ value: UInt8?, at register: Int) {
        published.store(value.map { UInt32($0) }, at: UInt64(register))
    }

    // MARK: The line

    /// Receives characters from the line.
    ///
    /// - Returns: the number of characters taken; if not all, the line's `resumeReceiving` follows.
    package func receive(_ bytes: HostSlice) -> Int {
        // In loopback the receiver is connected to the transmitter alone.
        let taken = bytes.prefix(modemControl.contains(.loopback) ? 0 : receiver.room)
        for index in 0..<taken.count {
            if let byte = taken.byte(at: index) { _ = receiver.push(byte) }
        }
        isHeldBack = taken.count < bytes.count
        refresh()
        return taken.count
    }

    /// Whether the line waits, and there is room for half a FIFO.
    private var wantsMore: Bool {
        isHeldBack && !modemControl.contains(.loopback) && receiver.room >= ReceiveFIFO.capacity / 2
    }

    private func transmit(_ byte: UInt8) {
        transmitterRanEmpty = true
        if modemControl.contains(.loopback) {
            if !receiver.push(byte) { hasOverrun = true }
            return
        }
        transmitted.all.store(byte, at: transmittedCount)
        transmittedCount += 1
        if transmittedCount == transmitted.capacity {
            flush()
        } else if !isFlushDue {
            isFlushDue = reactor.submit(.timeout(at: Clock.monotonic &+ Self.flushDelay), for: self)
        }
    }

    /// Hands collected output to the line now.
    package func flush() {
        guard transmittedCount > 0 else { return }
        line.send(transmitted.all.prefix(transmittedCount))
        transmittedCount = 0
    }

    override package func operationCompleted(tag: UInt32, result: Int32) {
        isFlushDue = false
        flush()
    }

    override package func endOfTurn() {
        if hasEdge {
            hasEdge = false
            interrupt.raise()
        }
        if wantsMore {
            isHeldBack = false
            line.resumeReceiving()
        }
    }
}

extension UInt64 {
    /// The sum with a small number, or the largest number.
    fileprivate func addingSaturating(_ count: Int) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(UInt64(clamping: count))
        return overflow ? .max : sum
    }
}
