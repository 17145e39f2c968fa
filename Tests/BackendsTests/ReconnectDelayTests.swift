import Backends
import Testing

@Suite struct ReconnectDelayTests {
    @Test func itGrowsWhileConnectionsDieYoung() {
        var delay = ReconnectDelay()
        let delays = [0, 1, ReconnectDelay.longest - 1, 0, 0, 0, 0, 0, 0].map { delay.take(afterLife: $0) / 1_000_000 }
        #expect(delays == [2, 4, 8, 16, 32, 64, 128, 200, 200])
    }

    @Test func itStartsAnewAfterOneThatLived() {
        var delay = ReconnectDelay()
        for _ in 0..<100 { _ = delay.take(afterLife: 0) }
        let delays = [ReconnectDelay.longest, 0, .max, 0].map { delay.take(afterLife: $0) / 1_000_000 }
        #expect(delays == [2, 4, 2, 4])
    }
}
