import Backends
import Testing

@Suite struct ReconnectDelayTests {
    private static let second: UInt64 = 1_000_000_000

    @Test func itGrowsWhileConnectionsDieYoung() {
        var delay = ReconnectDelay()
        let delays = [0, 1, Self.second - 1, 0, 0, 0, 0, 0].map { delay.take(afterLife: $0) / 1_000_000 }
        #expect(delays == [20, 40, 80, 160, 320, 640, 1000, 1000])
    }

    @Test func itStartsAnewAfterOneThatLived() {
        var delay = ReconnectDelay()
        for _ in 0..<100 { _ = delay.take(afterLife: 0) }
        let delays = [Self.second, 0, .max, 0].map { delay.take(afterLife: $0) / 1_000_000 }
        #expect(delays == [20, 40, 20, 40])
    }
}
