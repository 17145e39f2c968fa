import Boot
import Memory
import TestSupport

/// Kernels that look like a bzImage.
final class BzImageFuzz: FuzzSubject {
    init() {}

    func fuzz(_ input: inout FuzzInput) throws {
        let plan = BootStage.plan(&input)
        var image = input.oneIn(8) ? input.rest() : Self.image(&input)
        for _ in 0..<8 where !input.isEmpty { image.set(0x1f0 + input.below(0x80), input.byte()) }
        if input.oneIn(16) { image = Array(image.prefix(input.below(image.count + 1))) }
        guard let (memory, state) = try BootStage.load(image, plan) else { return }
        // Whatever was accepted is entered where its payload lies.
        guard image.count > 0x202, image[0x1fe] == 0x55, image[0x1ff] == 0xaa else { return }
        let sectors = image[0x1f1] == 0 ? 4 : Int(image[0x1f1])
        let payload = image.dropFirst(512 * (sectors + 1))
        let start = state.rip - 0x200
        let loaded = try memory.read(count: payload.count, at: GuestAddress(start))
        try expect(loaded.elementsEqual(payload), "the payload lies elsewhere")
    }

    /// A sound image, of which the input changes some fields.
    static func image(_ input: inout FuzzInput) -> [UInt8] {
        let payload = 0x400 + 16 * input.below(256)
        var image = [UInt8](repeating: 0, count: 3 * 512)
        image += (0..<payload).map { UInt8(truncatingIfNeeded: $0 % 251 + 1) }
        image.set(0x1f1, UInt8(2))
        image.set(0x1f4, UInt32(payload / 16))
        image.set(0x1fe, UInt16(0xaa55))
        image.set(0x200, UInt16(0x6aeb))
        image.set(0x202, UInt32(0x5372_6448))
        image.set(0x206, UInt16(0x20f))
        image.set(0x211, UInt8(1))
        image.set(0x214, UInt32(0x10_0000))
        image.set(0x22c, UInt32(0x7fff_ffff))
        image.set(0x230, UInt32(0x20_0000))
        image.set(0x234, UInt8(1))
        image.set(0x236, UInt16(3))
        image.set(0x238, UInt32(2047))
        image.set(0x258, UInt64(0x20_0000))
        image.set(0x260, UInt32(0x40_0000))
        if input.oneIn(4) { image.set(0x214, UInt32(truncatingIfNeeded: BootStage.number(&input))) }
        if input.oneIn(4) { image.set(0x258, BootStage.number(&input)) }
        if input.oneIn(4) { image.set(0x260, UInt32(truncatingIfNeeded: BootStage.number(&input))) }
        if input.oneIn(4) { image.set(0x22c, UInt32(truncatingIfNeeded: BootStage.number(&input))) }
        if input.oneIn(4) { image.set(0x230, UInt32(1) << UInt32(input.below(32))) }
        if input.oneIn(4) { image.set(0x234, UInt8(input.below(2))) }
        if input.oneIn(4) { image.set(0x1f1, input.byte()) }
        if input.oneIn(4) { image.set(0x1f4, input.integer(UInt32.self)) }
        return image
    }
}
