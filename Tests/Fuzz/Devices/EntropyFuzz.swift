import Backends
import TestSupport
import Virtio

/// Requests for random bytes, from a source that never ends, with a limit that does not wait long.
final class EntropyFuzz: FuzzSubject {
    private let stage: DeviceStage

    init() throws {
        stage = try DeviceStage(
            EntropyDevice(
                id: "rng0", source: try RandomSource(path: "/dev/urandom"),
                limit: EntropyDevice.Limit(bytes: 1 << 20, milliseconds: 1)))
    }

    func fuzz(_ input: inout FuzzInput) throws {
        try stage.begin(&input)
        try stage.run(
            &input,
            compose: { _, input in
                DeviceRequest(
                    readable: input.oneIn(8) ? input.take(input.below(20)) : [],
                    writable: input.oneIn(4) ? input.below(100_000) : input.below(256))
            }, event: { _ in try stage.turn(2) })
        try stage.end()
        let reply = try stage.probe(0, writable: [64])
        try expect((1...64).contains(reply.written), "\(reply.written) bytes of 64")
    }
}
