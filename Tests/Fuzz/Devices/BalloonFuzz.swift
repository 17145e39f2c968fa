import Host
import Virtio

/// Pages given up, taken back and reported, and statistics asked for, by a rule too.
final class BalloonFuzz: FuzzSubject {
    private let device = BalloonDevice(
        id: "balloon0", deflatesOnOutOfMemory: true, reportsFreePages: true,
        policy: AutoBalloonPolicy(memory: 1 << 20, bufferPercent: 50, interval: 1000))
    private let stage: DeviceStage

    init() throws {
        stage = try DeviceStage(device)
    }

    func fuzz(_ input: inout FuzzInput) throws {
        var asked = 0
        var answered = 0
        try stage.begin(&input)
        try stage.run(&input, compose: Self.compose) { input in
            switch input.below(4) {
            case 0: device.setTarget(input.oneIn(4) ? input.integer() : UInt32(input.below(1000)))
            case 1:
                asked += 1
                device.refreshStatistics { answered += 1 }
            default: try stage.turn(2)
            }
        }
        try stage.end()
        try expect(asked == answered, "\(asked) asked for statistics and \(answered) have heard")
        try expect(device.givenUp == 0, "pages are given up after a reset")
        _ = try stage.probe(1, readable: [[1, 0, 0, 0]])
    }

    /// Page numbers: of the highest, which hold nothing but what the device writes, for a request would clear the rest.
    private static func compose(_ queue: Int, _ input: inout FuzzInput) -> DeviceRequest {
        switch queue {
        case 0, 1:
            var bytes: [UInt8] = []
            for _ in 0..<input.pick([1, 2, 16, 256, 0]) {
                let page: UInt32 = input.oneIn(16) ? input.integer() | 1 << 28 : 40 + UInt32(input.below(24))
                bytes += littleEndian(page)
            }
            if input.oneIn(8) { bytes += [1, 2] }
            return DeviceRequest(readable: bytes)
        case 2:
            var bytes: [UInt8] = []
            for _ in 0..<input.below(20) {
                bytes += littleEndian(UInt16(input.below(20))) + littleEndian(input.integer(UInt64.self))
            }
            return DeviceRequest(readable: bytes)
        default:
            return DeviceRequest(writable: input.pick([4096, 8192, 64 << 10, 100, 0]))
        }
    }
}
