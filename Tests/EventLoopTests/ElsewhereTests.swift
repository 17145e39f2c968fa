import EventLoop
import Host
import Testing

/// What carries values between threads, and what waits for several of them.
@Suite struct ElsewhereTests {
    // MARK: SendOnce

    @Test func aValueIsTakenOnce() {
        let sent = SendOnce(7)
        #expect(sent.take() == 7)
        #expect(sent.take() == nil)
        #expect(sent.wait() == nil, "nobody waits for what has gone")
    }

    @Test func theFirstValueStays() {
        let sent = SendOnce<Int>()
        #expect(sent.take() == nil)
        sent.put(1)
        sent.put(2)
        #expect(sent.take() == 1)
        sent.put(3)
        #expect(sent.take() == nil)
    }

    @Test func aThreadWaitsForTheValueOfAnother() throws {
        let (question, answer) = (SendOnce<Int>(), SendOnce<Int>())
        let thread = try HostThread(name: "other") { answer.put((question.wait() ?? 0) + 1) }
        question.put(41)
        #expect(answer.wait() == 42)
        thread.join()
    }

    // MARK: ReactorBound

    @Test func aValueIsItsReactorsAlone() throws {
        let (own, other) = (try Reactor(name: "own"), try Reactor(name: "other"))
        let bound = ReactorBound(7, to: own)
        #expect(bound.value(on: own) == 7)
        #expect(bound.value(on: other) == nil)
    }

    // MARK: Join

    @Test func collectsWhatComesInItsOrder() {
        var results: [[Int]] = []
        let join = Join<Int>(2) { results.append($0) }
        join.add(3)
        #expect(results.isEmpty)
        join.add(1)
        #expect(results == [[3, 1]])
        join.add(2)
        #expect(results == [[3, 1]], "it ends once")
    }

    @Test func nothingToWaitForIsOverAtOnce() {
        var ends = 0
        _ = Join(0) { ends += 1 }
        #expect(ends == 1)
        let steps = Join(1) { ends += 1 }
        #expect(ends == 1)
        steps.step()
        #expect(ends == 2)
    }
}
