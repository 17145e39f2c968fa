import Control
import EventLoop
import Host
import Testing

@testable import VMM

@Suite struct EventSinkTests {
    @Test func reachesClientsFromEveryThread() throws {
        let reactor = try Reactor(name: "test")
        let (sink, clients) = (EventSink(reactor), FakeClients())
        sink.post(.stop)
        reactor.turn(waiting: false)
        #expect(sink.clients(on: reactor) == nil, "what came before is lost")
        sink.connect(clients, on: reactor)
        let thread = try HostThread(name: "device") { sink.post(.resume) }
        thread.join()
        #expect(clients.names.isEmpty)
        reactor.turn(waiting: false)
        #expect(clients.names == ["RESUME"])
        sink.clients(on: reactor)?.post(.stop)
        #expect(clients.names == ["RESUME", "STOP"])
    }

    @Test func onlyTheMainReactorReachesThem() throws {
        let (reactor, other) = (try Reactor(name: "main"), try Reactor(name: "other"))
        let (sink, clients) = (EventSink(reactor), FakeClients())
        sink.connect(clients, on: other)
        #expect(sink.clients(on: reactor) == nil)
        sink.connect(clients, on: reactor)
        #expect(sink.clients(on: reactor) === clients && sink.clients(on: other) == nil)
    }

    @Test func keepsNoClients() throws {
        let reactor = try Reactor(name: "test")
        let sink = EventSink(reactor)
        do {
            let clients = FakeClients()
            sink.connect(clients, on: reactor)
            #expect(sink.clients(on: reactor) === clients)
        }
        #expect(sink.clients(on: reactor) == nil)
    }
}
