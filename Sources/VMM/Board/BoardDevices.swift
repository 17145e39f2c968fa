import Backends
import Bus
import EventLoop
import Host
import Hypervisor
import Options
import Platform

/// The devices of a board that are not virtio: serial port, keyboard controller, power registers, pvpanic.
final class BoardDevices {
    private let options: LaunchOptions
    private let layout: BoardLayout
    private let reactor: Reactor
    private let bus: ReactorBus
    private let machine: VirtualMachine
    private let chardevs: Chardevs
    private var serialPort: SerialPort?

    init(
        _ options: LaunchOptions, _ layout: BoardLayout, _ chardevs: Chardevs, reactor: Reactor, bus: ReactorBus,
        machine: VirtualMachine
    ) {
        self.options = options
        self.layout = layout
        self.chardevs = chardevs
        self.reactor = reactor
        self.bus = bus
        self.machine = machine
    }

    /// Puts the devices on the bus and connects their interrupts.
    func attach() throws(MachineError) {
        let keyboard = I8042(interrupt: try line(layout.keyboard.line, "i8042"))
        try attach(keyboard, "i8042", layout.keyboard.addresses)
        try attach(ACPIPowerRegisters(layout.power), "power control", layout.power.addresses)
        try attach(PVPanic(), "pvpanic", layout.panic)
        if let id = options.serial?.chardevID { try attachSerial(id) }
    }

    private func attachSerial(_ id: String) throws(MachineError) {
        guard let chardev = chardevs[id] else { throw MachineError("-serial", "there is no -chardev id=\(id)") }
        let port = SerialPort(reactor, interrupt: try line(layout.serial.line, "-serial"), line: chardev)
        chardev.attach(port)
        let isAttached = bus.attach(port, at: layout.serial.addresses, published: port.published, postsFirst: true)
        guard isAttached else { throw Self.occupied("-serial") }
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
        _ device: any BusDevice, _ name: String, _ addresses: AddressRange
    ) throws(MachineError) {
        guard bus.attach(device, at: addresses) else { throw Self.occupied(name) }
    }

    private static func occupied(_ name: String) -> MachineError { MachineError(name, "its ports are occupied") }
}

// The two ends of a serial port's wire fit each other.
extension SerialPort: ChardevFrontend {}
extension Chardev: SerialLine {}
