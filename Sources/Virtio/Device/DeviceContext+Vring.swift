package import Backends

extension DeviceContext {
    /// A queue for whoever serves it instead of this process; nil if the driver did not set it up.
    package func vring(_ index: Int) -> Vring? {
        guard let layout = queue(index)?.layout, let kick = doorbell(index), let call = interrupt(index),
            let descriptors = try? layout.resolve(.descriptorTable, in: memory),
            let available = try? layout.resolve(.availableRing, in: memory),
            let used = try? layout.resolve(.usedRing, in: memory)
        else { return nil }
        return Vring(
            size: layout.size, descriptors: descriptors, available: available, used: used, kick: kick, call: call)
    }
}
