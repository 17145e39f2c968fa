import Backends
import EventLoop
import Host

/// Makes requests of an image on a reactor, as a device would.
final class ImageUser: RingClient {
    let reactor: Reactor
    let requests: ImageRequests
    /// How each finished request ended.
    var results: [Int: Errno?] = [:]

    init(_ image: RawImage, slots: Int = 32, segments: Int = 64, zeroDetection: ZeroDetection = .off) throws {
        reactor = try Reactor(name: "test")
        requests = ImageRequests(
            image, file: reactor.register(image.descriptor), slots: slots, segments: segments,
            zeroDetection: zeroDetection)
        super.init()
    }

    func begin(
        _ slot: Int, _ kind: ImageRequestKind, at offset: UInt64, _ memory: [HostSlice] = [], count: UInt64? = nil,
        isDurable: Bool = false
    ) {
        for (index, piece) in memory.enumerated() { _ = requests.setSegment(index, of: slot, piece) }
        let sum = memory.reduce(0) { $0 + UInt64($1.count) }
        results[slot] = nil
        follow(
            slot,
            requests.begin(
                slot, kind, at: offset, count: count ?? sum, segments: memory.count, isDurable: isDurable))
    }

    private func follow(_ slot: Int, _ step: ImageRequests.Step) {
        switch step {
        case .submit(let operation): reactor.submit(operation, for: self, tag: UInt32(slot))
        case .wait: break
        case .done(let error): results.updateValue(error, forKey: slot)
        }
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        follow(Int(tag), requests.advance(Int(tag), result: result))
        while requests.hasHeldBack, let (slot, step) = requests.resume() { follow(slot, step) }
    }

    /// Runs until every slot in `slots` has ended.
    func wait(for slots: some Sequence<Int>) {
        while slots.contains(where: { results.index(forKey: $0) == nil }) { reactor.turn(waiting: true) }
    }

    /// One request from begin to end; nil if it succeeded.
    func perform(
        _ kind: ImageRequestKind, at offset: UInt64, _ memory: [HostSlice] = [], count: UInt64? = nil
    ) -> Errno? {
        begin(0, kind, at: offset, memory, count: count)
        wait(for: [0])
        return results[0] ?? nil
    }
}
