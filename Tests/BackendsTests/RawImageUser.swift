import Backends
import EventLoop
import Host

/// Makes requests to a raw image on a reactor, as a device does.
final class RawImageUser: RingClient {
    let reactor: Reactor
    let requests: DiskRequests
    /// The result of each finished request.
    var results: [Int: Errno?] = [:]

    init(_ image: RawImage, slots: Int = 32, segments: Int = 64, zeroDetection: ZeroDetection = .off) throws {
        reactor = try Reactor(name: "test")
        requests = DiskRequests(
            .raw(image), on: reactor, slots: slots, segments: segments, zeroDetection: zeroDetection)
        super.init()
    }

    func begin(
        _ slot: Int, _ kind: DiskRequestKind, at offset: UInt64, _ memory: [HostSlice] = [], count: UInt64? = nil,
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

    /// Cancels all requests.
    func stop() {
        if let (slot, step) = requests.stop() { follow(slot, step) }
    }

    private func follow(_ slot: Int, _ step: DiskStep) {
        var (slot, step) = (slot, step)
        var mayResume = false
        while true {
            switch step {
            case .submit(let operation): reactor.submit(operation, for: self, tag: UInt32(slot))
            case .wait: break
            case .done(let error):
                mayResume = true
                results.updateValue(error, forKey: slot)
            }
            guard mayResume, let next = requests.resume() else { return }
            (slot, step) = next
        }
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        follow(Int(tag), requests.advance(Int(tag), result: result))
    }

    /// Runs until every slot in `slots` has ended.
    func wait(for slots: some Sequence<Int>) {
        while slots.contains(where: { results.index(forKey: $0) == nil }) { reactor.turn(waiting: true) }
    }

    /// One request from begin to end; nil if it succeeded.
    func perform(
        _ kind: DiskRequestKind, at offset: UInt64, _ memory: [HostSlice] = [], count: UInt64? = nil
    ) -> Errno? {
        begin(0, kind, at: offset, memory, count: count)
        wait(for: [0])
        return results[0] ?? nil
    }
}
