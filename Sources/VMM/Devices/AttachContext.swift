import EventLoop
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
    let router: AccessRouter

    /// Makes what serves a device's driver on the reactor where it shall live, gives it the slot's registers there, and
    /// connects its doorbells and its interrupt; before the machine runs.
    func attach(
        id: String, iothread: String?, slot: Int, _ make: @escaping DeviceMaker
    ) throws(MachineError) {
        let status = router.interruptStatus(ofSlot: slot)
        let connection: ReactorDevices.Connection
        let owner: ReactorHandle
        if let iothread {
            guard let thread = iothreads.first(where: { $0.id == iothread }) else {
                throw MachineError("-device id=\(id)", "there is no -object iothread,id=\(iothread)")
            }
            owner = thread.handle
            connection = try thread.perform { [memory] home throws(MachineError) in
                try Self.enter(home, make, id, slot, memory, status)
            }
        } else {
            owner = home.reactor.handle
            connection = try Self.enter(home, make, id, slot, memory, status)
        }
        do {
            try machine.connectInterrupt(connection.interrupt, line: MicroVM.line(ofSlot: slot))
            let notify = GuestAddress(UInt64(MicroVM.address(ofSlot: slot)) + MMIORegister.queueNotify.rawValue)
            for (queue, doorbell) in connection.doorbells.enumerated() {
                try machine.connectDoorbell(doorbell, at: notify, value: UInt32(queue))
            }
        } catch {
            throw MachineError("-device id=\(id)", "\(error)")
        }
        router.setOwner(ofSlot: slot, owner)
    }

    private static func enter(
        _ home: ReactorDevices, _ make: DeviceMaker, _ id: String, _ slot: Int, _ memory: GuestMemory,
        _ status: InterruptStatus
    ) throws(MachineError) -> ReactorDevices.Connection {
        try home.install(make, id: id, slot: slot, memory: memory, interruptStatus: status)
    }
}
