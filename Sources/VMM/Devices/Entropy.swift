import Backends
import EventLoop
import Options
import Virtio

/// An entropy device of the VM.
final class Entropy: MachineDevice {
    let id: String
    let type = "virtio-rng-device"
    private let source: RandomSource
    private let limit: EntropyDevice.Limit?

    /// Opens the host's file.
    init(_ source: RandomSpec, _ device: EntropyDeviceSpec) throws(MachineError) {
        do {
            self.source = try RandomSource(path: source.filename)
        } catch {
            throw MachineError("-object rng-random,id=\(source.id)", "\(error)")
        }
        id = device.id ?? source.id
        limit = device.limit.map { EntropyDevice.Limit(bytes: $0.bytes, milliseconds: $0.period) }
    }

    var maker: DeviceMaker {
        let source = SendOnce(source)
        let (id, limit) = (id, limit)
        return { _, _ throws(MachineError) in
            guard let source = source.take() else { throw MachineError("-device id=\(id)", "is attached already") }
            return EntropyDevice(id: id, source: source, limit: limit)
        }
    }
}
