package import Backends

extension DeviceContext {
    /// A queue for whoever serves it instead of this process; nil if the driver did not set it up.
    package func vring(_ index: Int) -> Vring? {
        guard let queue = queue(index), let kick = doorbell(index), let call = interrupt(index),
            let descriptors = try? queue.layout.resolve(.descriptorTable, in: memory),
            let available = try? queue.layout.resolve(.availableRing, in: memory),
            let used = try? queue.layout.resolve(.usedRing, in: memory)
        else { return nil }
        return Vring(
            size: queue.size, base: queue.position, descriptors: descriptors, available: available, used: used,
            kick: kick, call: call)
    }
}
