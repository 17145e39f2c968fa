/// Where everything of a board is, and how much of it there is: addresses, ports, interrupt lines, limits.
///
/// Devices, tables for the guest and limits of options are made from this value; nothing else names an address.
package struct BoardLayout: Equatable, Sendable {
    /// The board's name in `-machine`.
    package var name: String
    package var memory: Memory
    package var interrupts: InterruptControllers
    package var virtio: VirtioWindow
    /// COM1, a 16550A.
    package var serial: Device
    /// An i8042.
    package var keyboard: Device
    /// The port of pvpanic.
    package var panic: AddressRange
    package var power: PowerRegisters
    /// Where a PC has its real-time clock. There is none: all ones would be a clock whose update never ends, for which
    /// drivers wait seconds; zeroes are one that they leave at once.
    package var absentClock: AddressRange
    package var limits: Limits

    /// How guest memory is cut: devices have the addresses from the end of low memory to the start of high memory.
    package struct Memory: Equatable, Sendable {
        /// RAM from address 0 ends here at the latest.
        package var lowEnd: UInt64
        /// Where the rest of RAM begins.
        package var highStart: UInt64
        /// Pages that KVM needs on an Intel host for real mode: an identity map, and three of a task state behind it.
        package var identityMap: UInt64
        package var taskState: UInt64

        package init(lowEnd: UInt64, highStart: UInt64, identityMap: UInt64, taskState: UInt64) {
            self.lowEnd = lowEnd
            self.highStart = highStart
            self.identityMap = identityMap
            self.taskState = taskState
        }
    }

    /// The interrupt controllers, which KVM has in the kernel.
    package struct InterruptControllers: Equatable, Sendable {
        package var localAPIC: UInt32
        package var ioAPIC: UInt32
        /// Input lines of the I/O APIC.
        package var lines: UInt32
        /// The first of them are those of the ISA bus, and all that the MP table tells of.
        package var isaLines: UInt32

        package init(localAPIC: UInt32, ioAPIC: UInt32, lines: UInt32, isaLines: UInt32) {
            self.localAPIC = localAPIC
            self.ioAPIC = ioAPIC
            self.lines = lines
            self.isaLines = isaLines
        }
    }

    /// The window of virtio-mmio devices: slots of equal size, each with an interrupt line of its own.
    package struct VirtioWindow: Equatable, Sendable {
        package var start: UInt32
        /// Length of a slot's registers in bytes.
        package var slotSize: UInt32
        /// The line of the first slot; the others follow.
        package var firstLine: UInt32
        /// How many disks and NICs a client can count on plugging in, those of the command line among them.
        package var pluggableDisks: Int
        package var pluggableNICs: Int

        package init(start: UInt32, slotSize: UInt32, firstLine: UInt32, pluggableDisks: Int, pluggableNICs: Int) {
            self.start = start
            self.slotSize = slotSize
            self.firstLine = firstLine
            self.pluggableDisks = pluggableDisks
            self.pluggableNICs = pluggableNICs
        }

        /// The registers of the device in `slot`.
        package func addresses(ofSlot slot: Int) -> AddressRange {
            .memory(
                UInt64(start) &+ UInt64(slotSize) &* UInt64(truncatingIfNeeded: slot), count: UInt64(slotSize))
        }

        /// The interrupt line of the device in `slot`.
        package func line(ofSlot slot: Int) -> UInt32 { firstLine &+ UInt32(truncatingIfNeeded: slot) }
    }

    /// A device of the board with ports and an interrupt line.
    package struct Device: Equatable, Sendable {
        package var addresses: AddressRange
        package var line: UInt32

        package init(_ addresses: AddressRange, line: UInt32) {
            self.addresses = addresses
            self.line = line
        }
    }

    /// The registers of a hardware-reduced ACPI machine, ports of one byte each (ACPI 6.5, 4.8.3).
    package struct PowerRegisters: Equatable, Sendable {
        package var addresses: AddressRange
        package var sleepControl: UInt16
        package var sleepStatus: UInt16
        package var reset: UInt16
        /// What the guest writes into the reset register.
        package var resetValue: UInt8
        /// SLP_TYP of S5, soft off; the only sleeping state there is.
        package var softOff: UInt8

        package init(
            _ addresses: AddressRange, sleepControl: UInt16, sleepStatus: UInt16, reset: UInt16, resetValue: UInt8,
            softOff: UInt8
        ) {
            self.addresses = addresses
            self.sleepControl = sleepControl
            self.sleepStatus = sleepStatus
            self.reset = reset
            self.resetValue = resetValue
            self.softOff = softOff
        }
    }

    /// How much a machine of this board can have.
    package struct Limits: Equatable, Sendable {
        /// vCPUs; with the I/O APIC, each needs an identifier of 8 bits, of which one is taken.
        package var vcpus: Int
        /// Disks and NICs, those plugged in later among them.
        package var disks: Int
        package var nics: Int
        package var iothreads: Int

        package init(vcpus: Int, disks: Int, nics: Int, iothreads: Int) {
            self.vcpus = vcpus
            self.disks = disks
            self.nics = nics
            self.iothreads = iothreads
        }
    }

    package init(
        name: String, memory: Memory, interrupts: InterruptControllers, virtio: VirtioWindow, serial: Device,
        keyboard: Device, panic: AddressRange, power: PowerRegisters, absentClock: AddressRange, limits: Limits
    ) {
        self.name = name
        self.memory = memory
        self.interrupts = interrupts
        self.virtio = virtio
        self.serial = serial
        self.keyboard = keyboard
        self.panic = panic
        self.power = power
        self.absentClock = absentClock
        self.limits = limits
    }

    /// How many virtio-mmio slots a guest can use: those with a line that it is told of. Without ACPI that is the MP
    /// table's word.
    package func slots(acpi: Bool) -> Int {
        Int(acpi ? interrupts.lines : interrupts.isaLines) - Int(virtio.firstLine)
    }
}
