/// The places for devices on MMIO, in the order in which the guest finds them: those of the command line's devices,
/// and behind them the spare ones, which keep a driver for what is plugged in later.
final class SlotTable {
    /// What a place is for: its driver in the guest cannot change.
    enum Kind: Equatable {
        case disk
        case networkCard
        /// Whatever is never unplugged.
        case fixed

        /// What the place of a device is for.
        init(_ device: any MachineDevice) {
            self = device is Disk ? .disk : device is NIC ? .networkCard : .fixed
        }
    }

    struct Slot {
        let number: Int
        let kind: Kind
        /// Nil for a place without a device.
        var device: (any MachineDevice)?
        /// Where the registers are served.
        var placement: DevicePlacement
    }

    private(set) var slots: [Slot] = []

    func append(_ slot: Slot) { slots.append(slot) }

    /// The devices in their order.
    var devices: [any MachineDevice] { slots.compactMap(\.device) }

    /// The place of the device of this id.
    func slot(ofDevice id: String) -> Slot? { slots.first { $0.device?.id == id } }

    /// The places of one kind: a client counts them from 0.
    func slots(of kind: Kind) -> [Slot] { slots.filter { $0.kind == kind } }

    /// Notes who is in a place now.
    func set(_ number: Int, _ device: (any MachineDevice)?, _ placement: DevicePlacement) {
        guard let index = slots.firstIndex(where: { $0.number == number }) else { return }
        slots[index].device = device
        slots[index].placement = placement
    }
}
