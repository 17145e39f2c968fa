extension SerialPort {
    /// The registers and the received characters of a serial port.
    ///
    /// Output is not part of it: a port that is saved hands it to its line first. Neither is the interrupt: a restored
    /// port raises it again if a condition is pending.
    package struct State: Equatable, Sendable {
        package var divisor: UInt16
        /// IER, FCR, LCR, MCR and SCR.
        package var interruptEnable: UInt8
        package var fifoControl: UInt8
        package var lineControl: UInt8
        package var modemControl: UInt8
        package var scratch: UInt8
        /// The characters that the guest has not read, the oldest first; at most 256.
        package var received: [UInt8]
        package var hasOverrun: Bool
        /// The lower half of MSR.
        package var modemChanges: UInt8
        /// Whether the transmitter's interrupt is pending.
        package var transmitterRanEmpty: Bool
        /// How many times in a row the guest saw that interrupt.
        package var burst: Int

        /// A state with these values.
        package init(
            divisor: UInt16, interruptEnable: UInt8, fifoControl: UInt8, lineControl: UInt8, modemControl: UInt8,
            scratch: UInt8, received: [UInt8], hasOverrun: Bool, modemChanges: UInt8, transmitterRanEmpty: Bool,
            burst: Int
        ) {
            self.divisor = divisor
            self.interruptEnable = interruptEnable
            self.fifoControl = fifoControl
            self.lineControl = lineControl
            self.modemControl = modemControl
            self.scratch = scratch
            self.received = received
            self.hasOverrun = hasOverrun
            self.modemChanges = modemChanges
            self.transmitterRanEmpty = transmitterRanEmpty
            self.burst = burst
        }

        /// Checks the values that come from outside.
        func check() throws(PlatformStateError) {
            func check(_ name: String, _ value: UInt8, _ known: UInt8) throws(PlatformStateError) {
                guard value & ~known == 0 else {
                    throw PlatformStateError("\(name) 0x\(String(value, radix: 16)) has unknown bits")
                }
            }
            try check("the interrupt enable register", interruptEnable, InterruptEnable.all.rawValue)
            try check("the FIFO control register", fifoControl, FIFOControl.enable.rawValue)
            try check("the modem control register", modemControl, ModemControl.all.rawValue)
            try check("the change bits of the modem status", modemChanges, 0x0f)
            guard received.count <= ReceiveFIFO.capacity else {
                throw PlatformStateError("\(received.count) received characters do not fit the FIFO")
            }
            guard 0...SerialPort.longestBurst ~= burst else {
                throw PlatformStateError("a burst of \(burst) transmitter interrupts is out of range")
            }
        }
    }
}
