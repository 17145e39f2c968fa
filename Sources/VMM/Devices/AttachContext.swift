import Bus
import Host
import Hypervisor
import Memory
import Options
import Virtio

/// Where devices are attached: the reactors they may live on, and the machine that they interrupt.
struct AttachContext {
    let home: ReactorDevices
    let iothreads: [IOThread]
    let memory: GuestMemory
    let machine: VirtualMachine

    /// Makes what serves a device's driver on the reactor where it shall live, gives it the slot's registers there, and
    /// connects its doorbells and its interrupt; before the machine runs.
    func attach(
        id: String, iothread: String?, slot: Int, _ make: @escaping DeviceMaker
    ) throws(MachineError) {
        let connection: ReactorDevices.Connection
        if let iothread {
            guard let thread = iothreads.first(where: { $0.id == iothread }) else {
                throw MachineError("-device id=\(id)", "there is no -object iothread,id=\(iothread)")
            }
            connection = try thread.perform { [memory] home throws(MachineError) in
                try Self.enter(home, make, id, slot, memory)
            }
        } else {
            connection = try Self.enter(home, make, id, slot, memory)
        }
        do {
            let window = home.layout.virtio
            try machine.connectInterrupt(connection.interrupt, line: window.line(ofSlot: slot))
            let notify = GuestAddress(window.addresses(ofSlot: slot).start + MMIORegister.queueNotify.rawValue)
            for (queue, doorbell) in connection.doorbells.enumerated() {
                try machine.connectDoorbell(doorbell, at: notify, value: UInt32(queue))
            }
        } catch {
            throw MachineError("-device id=\(id)", "\(error)")
        }
    }

    private static func enter(
        _ home: ReactorDevices, _ make: DeviceMaker, _ id: String, _ slot: Int, _ memory: GuestMemory
    ) throws(MachineError) -> ReactorDevices.Connection {
        try home.install(make, id: id, slot: slot, memory: memory)
    }
}
