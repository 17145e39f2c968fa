import Testing

@testable import VMM

@Suite struct SerialQueueTests {
    @Test func runsOneAfterAnother() {
        let queue = SerialQueue()
        var started: [Int] = []
        var done: [() -> Void] = []
        for number in 0..<3 {
            queue.add { finish in
                started.append(number)
                done.append(finish)
            }
        }
        #expect(started == [0] && queue.isBusy)
        done[0]()
        #expect(started == [0, 1])
        done[1]()
        done[2]()
        #expect(started == [0, 1, 2] && !queue.isBusy)
    }

    @Test func whatIsDoneAtOnceLeavesNothingBehind() {
        let queue = SerialQueue()
        var runs = 0
        for _ in 0..<3 {
            queue.add { done in
                runs += 1
                done()
            }
        }
        #expect(runs == 3 && !queue.isBusy)
    }

    @Test func anOperationMayAddAnother() {
        let queue = SerialQueue()
        var started: [String] = []
        queue.add { done in
            started.append("first")
            queue.add { done in
                started.append("second")
                done()
            }
            #expect(started == ["first"])
            done()
        }
        #expect(started == ["first", "second"] && !queue.isBusy)
    }
}
