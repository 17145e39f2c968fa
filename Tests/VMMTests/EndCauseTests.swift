import Control
import Testing

@testable import VMM

@Suite struct EndCauseTests {
    @Test(
        arguments: [
            (.guestPowerOff, 0, ["SHUTDOWN"]), (.guestReset, 0, ["RESET", "SHUTDOWN"]),
            (.guestTripleFault, 0, ["RESET", "SHUTDOWN"]), (.guestPanic(resets: true), 0, ["RESET", "SHUTDOWN"]),
            (.guestPanic(resets: false), 0, ["SHUTDOWN"]), (.quit, 0, ["SHUTDOWN"]),
            (.hostPowerDown, 0, ["POWERDOWN", "SHUTDOWN"]), (.hostReset, 0, ["RESET", "SHUTDOWN"]),
            (.signal(15), 0, ["SHUTDOWN"]), (.processorFailure("x"), 2, ["SHUTDOWN"]),
            (.ringFailure("x"), 2, ["SHUTDOWN"]),
        ] as [(EndCause, Int32, [String])])
    func statusAndEventsAgree(cause: EndCause, status: Int32, events: [String]) {
        #expect(cause.status == status)
        #expect(cause.events.map(\.name.rawValue) == events)
    }

    @Test func theGuestsWayOutIsStratoVirtsWord() {
        for cause in [EndCause.guestPowerOff, .guestReset, .guestTripleFault] {
            #expect(cause.events.last == .shutdown(guest: true, reason: "guest-shutdown"))
        }
        #expect(EndCause.guestPanic(resets: false).events == [.shutdown(guest: true, reason: "guest-panic")])
        #expect(EndCause.quit.events == [.shutdown(guest: false, reason: "host-qmp-quit")])
        #expect(EndCause.signal(2).events == [.shutdown(guest: false, reason: "Guest shutdown by signal 2")])
    }
}

extension EndCauseTests {
    @Test(
        arguments: [
            (.guestPowerOff, .guestPanic(resets: false)), (.guestReset, .guestPanic(resets: true)),
            (.guestTripleFault, .guestPanic(resets: true)), (.quit, .quit), (.signal(15), .signal(15)),
            (.processorFailure("x"), .processorFailure("x")), (.ringFailure("x"), .ringFailure("x")),
        ] as [(EndCause, EndCause)])
    func aPanicIsTheCauseOfWhatTheGuestDoesAfterIt(cause: EndCause, afterPanic: EndCause) {
        #expect(cause.afterPanic == afterPanic)
    }
}
