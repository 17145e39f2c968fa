import Backends
import Control
import EventLoop
import Host
import Hypervisor
import Options
import Platform

/// The devices of a light machine that are not virtio: serial port, keyboard controller, power registers, pvpanic.
final class BoardDevices {
    private let options: LaunchOptions
    private let reactor: Reactor
    private let bus: Bus
    private let machine: VirtualMachine
    private let chardevs: Chardevs
    private var serialPort: SerialPort?

    init(_ options: LaunchOptions, _ chardevs: Chardevs, reactor: Reactor, bus: Bus, machine: VirtualMachine) {
        self.options = options
        self.chardevs = chardevs
        self.reactor = reactor
        self.bus = bus
        self.machine = machine
    }

    /// The ports that devices of the board own.
    static func ports(_ options: LaunchOptions) -> [ClosedRange<UInt16>] {
        var ranges = [
            range(I8042.firstPort, I8042.portCount),
            range(ACPIPowerRegisters.firstPort, ACPIPowerRegisters.portCount),
            range(PVPanic.firstPort, PVPanic.portCount),
        ]
        if options.serial != nil { ranges.append(range(MicroVM.serialPort, SerialPort.portCount)) }
        return ranges
    }

    private static func range(_ first: UInt64, _ count: UInt64) -> ClosedRange<UInt16> {
        let first = UInt16(clamping: first)
        return first...(first &+ UInt16(clamping: count) &- 1)
    }

    /// The serial port as vCPUs know it; nil if there is none.
    var serialPorts: AccessRouter.SerialPorts? {
        serialPort.map { .init(first: UInt16(MicroVM.serialPort), registers: $0.published) }
    }

    /// Puts the devices on the bus and connects their interrupts.
    func attach() throws(MachineError) {
        let keyboard = I8042(interrupt: try line(MicroVM.keyboardLine, "i8042"))
        try attach(keyboard, "i8042", I8042.firstPort, I8042.portCount)
        try attach(ACPIPowerRegisters(), "power control", ACPIPowerRegisters.firstPort, ACPIPowerRegisters.portCount)
        try attach(PVPanic(), "pvpanic", PVPanic.firstPort, PVPanic.portCount)
        if let id = options.serial?.chardevID { try attachSerial(id) }
    }

    private func attachSerial(_ id: String) throws(MachineError) {
        guard let chardev = chardevs[id] else { throw MachineError("-serial", "there is no -chardev id=\(id)") }
        let port = SerialPort(reactor, interrupt: try line(MicroVM.serialLine, "-serial"), line: chardev)
        chardev.attach(port)
        try attach(port, "-serial", MicroVM.serialPort, SerialPort.portCount)
        serialPort = port
    }

    /// Hands on what the guest has written last.
    func finish() {
        serialPort?.flush()
    }

    private func line(_ number: UInt32, _ place: String) throws(MachineError) -> InterruptLine {
        do {
            let interrupt = try InterruptLine(reactor)
            try machine.connectInterrupt(interrupt.descriptor, line: number)
            return interrupt
        } catch {
            throw MachineError(place, "cannot get its interrupt: \(error)")
        }
    }

    private func attach(
        _ device: any BusDevice, _ name: String, _ port: UInt64, _ count: UInt64
    ) throws(MachineError) {
        guard bus.attach(device, .ports, at: port, count: count) else {
            throw MachineError(name, "its ports are occupied")
        }
    }
}

// The two ends of a serial port's wire fit each other.
extension SerialPort: ChardevFrontend {}
extension Chardev: SerialLine {}
