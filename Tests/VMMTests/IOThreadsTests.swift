import Control
import EventLoop
import Glibc
import Host
import Options
import TestSupport
import Testing

@testable import VMM

@Suite struct IOThreadsTests {
    // MARK: Start

    @Test func thoseOfTheCommandLineAreThereAtOnce() throws {
        let rig = try IOThreadRig()
        try rig.iothreads.start(["io0", "io1"], spare: 1)
        #expect(rig.iothreads.ids == ["io0", "io1"])
        #expect(rig.iothreads["io1"]?.id == "io1" && rig.iothreads["spare"] == nil)
        let thread = try #require(rig.iothreads["io0"])
        #expect(try IOThreadRig.threadName(thread.threadID) == "io0")
        #expect(try thread.perform { $0.reactor.handle.name } == "io0")
        #expect(throws: MachineError.self) {
            try thread.perform { _ throws(MachineError) in throw MachineError("a", "b") }
        }
    }

    @Test func placesDevicesOnEachReactor() throws {
        let rig = try IOThreadRig()
        try rig.iothreads.start(["io0"], spare: 0)
        #expect(rig.iothreads.placement(of: nil)?.handle === rig.reactor.handle)
        #expect(rig.iothreads.placement(of: "io0")?.handle === rig.iothreads["io0"]?.handle)
        #expect(rig.iothreads.placement(of: "io1") == nil)
    }

    @Test func asksEveryReactorOnItsOwnThread() throws {
        let rig = try IOThreadRig()
        try rig.iothreads.start(["io0", "io1"], spare: 1)
        var names: [String]?
        rig.iothreads.collect { devices, answer in
            answer("\(devices.reactor.handle.name) \(HostThread.currentID)")
        } then: {
            names = $0
        }
        while names == nil { rig.reactor.turn(waiting: true) }
        let expected =
            ["test \(HostThread.currentID)"]
            + ["io0", "io1"].map { "\($0) \(rig.iothreads[$0]?.threadID ?? 0)" }
        #expect(names?.sorted() == expected.sorted())
    }

    // MARK: object-add

    @Test func isThereWhenTheCommandIsAnswered() throws {
        let rig = try IOThreadRig()
        var answers: [String] = []
        try rig.add("io0") { answers.append($0?.description ?? "") }
        // The command waits for nothing; the id is taken all the same.
        #expect(answers.isEmpty && rig.iothreads.running.isEmpty && rig.iothreads.ids == ["io0"])
        try rig.add("io0") { answers.append($0?.description ?? "") }
        #expect(answers == ["object-add: there is an object 'io0' already"])
        while answers.count < 2 { rig.reactor.turn(waiting: true) }
        #expect(answers.last == "" && rig.iothreads.running.map(\.id) == ["io0"])
        let number = try #require(rig.iothreads["io0"]).threadID
        #expect(try IOThreadRig.threadName(number) == "io0")
    }

    @Test func severalCanStartAtOnce() throws {
        let rig = try IOThreadRig()
        var answers = 0
        for index in 0..<Limits.microvm.iothreads {
            try rig.add("io\(index)") { if $0 == nil { answers += 1 } }
        }
        #expect(try rig.answer { try rig.add("more", $0) } == "object-add: a MicroVm has at most 8 iothreads")
        while answers < Limits.microvm.iothreads { rig.reactor.turn(waiting: true) }
        #expect(Set(rig.iothreads.running.map(\.threadID)).count == Limits.microvm.iothreads)
    }

    @Test func onlyIOThreadsCanBeAdded() throws {
        let rig = try IOThreadRig()
        let spec = try ObjectSpec.parse("rng-random,id=r")
        let answer = rig.answer { rig.iothreads.add(spec, beside: Inventory(limits: .microvm), $0) }
        #expect(answer == "object-add: only an iothread can be added while the machine runs")
        #expect(try rig.answer { try rig.add("rng0", $0) } == "object-add: there is an object 'rng0' already")
    }

    /// Without descriptors left there is no ring. In a process of its own, whose limit it is.
    @Test func aThreadWithoutARingIsAnErrorAndIsGone() async {
        await #expect(processExitsWith: .success) {
            let rig = try IOThreadRig()
            var limit = rlimit()
            #expect(unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            let before = limit.rlim_cur
            limit.rlim_cur = 0
            #expect(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            let answer = try rig.answer { try rig.add("io0", $0) }
            limit.rlim_cur = before
            #expect(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            #expect(answer.hasPrefix("object-add: -object iothread,id=io0: cannot make its io_uring: "), "\(answer)")
            #expect(rig.iothreads.ids.isEmpty)
            #expect(try rig.answer { try rig.add("io0", $0) } == "", "the id is free")
        }
    }

    // MARK: object-del

    @Test func theThreadIsGoneWhenTheCommandIsAnswered() throws {
        let rig = try IOThreadRig()
        #expect(try rig.answer { try rig.add("io0", $0) } == "")
        let number = try #require(rig.iothreads["io0"]).threadID
        var answers: [String] = []
        rig.remove("io0") { answers.append($0?.description ?? "") }
        // The command waits for nothing; no device can be given to it all the same.
        #expect(answers.isEmpty && rig.iothreads.running.isEmpty && rig.iothreads["io0"] == nil)
        while answers.isEmpty { rig.reactor.turn(waiting: true) }
        #expect(answers == [""])
        #expect(try IOThreadRig.threadName(number) == nil)
        #expect(try rig.answer { try rig.add("io0", $0) } == "", "the id is free")
    }

    @Test func nothingIsLeftOfOneThatHasGone() throws {
        let rig = try IOThreadRig()
        #expect(try rig.answer { try rig.add("io0", $0) } == "")
        weak let thread = rig.iothreads["io0"]
        #expect(rig.answer { rig.remove("io0", $0) } == "")
        let isGone = thread == nil
        #expect(isGone)
    }

    @Test func whatIsNotThereCannotGo() throws {
        let rig = try IOThreadRig()
        #expect(rig.answer { rig.remove("io0", $0) } == "object-del: there is no iothread 'io0'")
        try rig.add("io0") { _ in }
        #expect(rig.answer { rig.remove("io0", $0) } == "object-del: there is no iothread 'io0'", "not yet")
    }

    @Test func whatADeviceUsesStays() throws {
        let rig = try IOThreadRig()
        try rig.iothreads.start(["io0", "io1"], spare: 0)
        let device = FakeDevice("net0", iothread: "io0", helper: "io1")
        for id in ["io0", "io1"] {
            let answer = rig.answer { rig.remove(id, beside: [device], $0) }
            #expect(answer == "object-del: '\(id)' is in use by the device net0")
        }
        #expect(rig.iothreads.running.count == 2)
    }

    @Test func nothingGoesWhileADeviceIsPluggedIn() throws {
        let rig = try IOThreadRig()
        try rig.iothreads.start(["io0"], spare: 0)
        var done: (() -> Void)?
        rig.operations.add { done = $0 }
        let answer = rig.answer { rig.remove("io0", $0) }
        #expect(answer == "object-del: a device is just being plugged in or out; try again")
        done?()
        #expect(rig.answer { rig.remove("io0", $0) } == "")
    }

    // MARK: Filtered

    @Test func aSpareThreadBecomesTheIOThreadAndIsOneAgain() throws {
        let rig = try IOThreadRig(isFiltered: true, keepsSpare: true)
        try rig.iothreads.start([], spare: 1)
        for id in ["io0", "io1"] {
            #expect(try rig.answer { try rig.add(id, $0) } == "")
            let thread = try #require(rig.iothreads[id])
            #expect(thread.id == id)
            #expect(try IOThreadRig.threadName(thread.threadID) == id)
            let more = try rig.answer { try rig.add("more", $0) }
            #expect(more.hasPrefix("object-add: no spare iothread is left") && more.contains("id=more"))
            #expect(rig.answer { rig.remove(id, $0) } == "")
            #expect(try IOThreadRig.threadName(thread.threadID) == IOThread.spareName)
            #expect(rig.iothreads.ids.isEmpty)
        }
    }

    @Test func withoutSpareThreadsOneThatGoesEnds() throws {
        let rig = try IOThreadRig(isFiltered: true)
        try rig.iothreads.start(["io0"], spare: 0)
        let number = try #require(rig.iothreads["io0"]).threadID
        #expect(rig.answer { rig.remove("io0", $0) } == "")
        #expect(try IOThreadRig.threadName(number) == nil)
    }

    // MARK: The end

    @Test func waitsForThreadsInEveryState() throws {
        var numbers: [Int32] = []
        do {
            let rig = try IOThreadRig()
            try rig.iothreads.start(["io0", "io1"], spare: 1)
            numbers = rig.iothreads.running.map(\.threadID)
            rig.remove("io1") { _ in }
            try rig.add("io2") { _ in }
            rig.iothreads.finish()
            #expect(numbers.count == 2)
        }
        for number in numbers { #expect(try IOThreadRig.threadName(number) == nil) }
    }
}
