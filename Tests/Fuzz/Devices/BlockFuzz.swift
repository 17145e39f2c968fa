import Backends
import EventLoop
import Host
import TestSupport
import Virtio

/// Requests to a disk of 1 MiB, with its image growing and its limit changing meanwhile.
final class BlockFuzz: FuzzSubject {
    private let file: TemporaryFile
    private let image: DiskImage
    private let device: BlockDevice
    private let stage: DeviceStage

    private static let sectors: UInt64 = 2048
    private static let kinds: [UInt32] = [0, 1, 0, 1, 4, 8, 11, 13, 2, 10, 14]

    init() throws {
        file = try TemporaryFile(size: 512 * Self.sectors, inMemory: true)
        image = try .open(path: file.path, readOnly: false, direct: false)
        var options = BlockDevice.Options()
        options.serial = "fuzz"
        options.queues = 2
        options.discards = true
        options.zeroDetection = .unmap
        device = BlockDevice(id: "disk0", image: image, options: options)
        stage = try DeviceStage(device)
    }

    func fuzz(_ input: inout FuzzInput) throws {
        device.limit(iops: 0)
        try stage.begin(&input)
        try stage.run(&input, compose: Self.compose) { input in
            switch input.below(8) {
            case 0: device.limit(iops: input.pick([0, 1_000_000, 1000, .max]))
            case 1: try device.imageResized()
            default: try stage.turn(2)
            }
        }
        device.limit(iops: 0)
        try stage.end()
        try expect(device.isIdle && device.operationsInFlight == 0, "operations are left after a reset")
        try expect(try FileStatus(at: file.path).size == 512 * Self.sectors, "the image has another size")
        let reply = try stage.probe(
            0, readable: [littleEndian(UInt32(0)) + littleEndian(UInt32(0)) + littleEndian(UInt64(3))],
            writable: [512, 1])
        try expect(reply.bytes.last == 0 && reply.written == 513, "the disk does not work after a reset")
    }

    private static func compose(_ queue: Int, _ input: inout FuzzInput) -> DeviceRequest {
        let kind = input.oneIn(16) ? input.integer() : input.pick(kinds)
        var request = DeviceRequest(readable: littleEndian(kind) + littleEndian(UInt32(input.byte())))
        request.readable += littleEndian(sector(&input))
        let count = input.oneIn(8) ? input.below(70_000) : 512 * input.pick([1, 0, 2, 8, 64, 128])
        switch kind {
        case 1: request.readable += [UInt8](repeating: input.byte(), count: count)
        case 11, 13:
            for _ in 0..<input.pick([1, 0, 2, 8, 9]) {
                request.readable += littleEndian(sector(&input))
                request.readable += littleEndian(input.oneIn(8) ? input.integer() : UInt32(input.below(64)))
                request.readable += littleEndian(input.oneIn(8) ? input.integer() : UInt32(input.below(2)))
            }
        default: request.writable = count
        }
        request.writable += 1
        if input.oneIn(16) { request.readable = Array(request.readable.prefix(input.below(40))) }
        if input.oneIn(16) { request.writable = input.below(3) }
        return request
    }

    private static func sector(_ input: inout FuzzInput) -> UInt64 {
        switch input.below(8) {
        case 7: input.integer()
        case 6: input.pick([sectors, .max, 1 << 55, sectors - 1, sectors + 1])
        default: UInt64(input.below(Int(sectors)))
        }
    }
}
