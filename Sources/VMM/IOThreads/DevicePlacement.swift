import EventLoop

/// A reactor that devices can live on, as the main reactor reaches it: itself, or an iothread.
struct DevicePlacement {
    /// The reactor, for the other threads.
    let handle: ReactorHandle
    private let devices: ReactorBound<ReactorDevices>
    private let main: Reactor

    /// The main reactor itself.
    init(_ devices: ReactorDevices) {
        handle = devices.reactor.handle
        self.devices = ReactorBound(devices, to: devices.reactor)
        main = devices.reactor
    }

    /// - Parameter main: the reactor that asks.
    init(_ iothread: IOThread, main: Reactor) {
        handle = iothread.handle
        devices = iothread.devices
        self.main = main
    }

    /// Calls `then` in a later turn of the main reactor, when the turn is over that runs there now, or that has just run,
    /// with all that it kept till its end.
    func finishTurn(_ then: @escaping () -> Void) {
        let then = SendOnce(then)
        let main = main.handle
        // The first message may be taken in that turn still, the second is not.
        handle.send { reactor in
            reactor.handle.send { _ in
                main.send { _ in then.take()?() }
            }
        }
    }

    /// Runs `body` there. What it hands to its second argument, once, comes back to `then` on the main reactor.
    func run<Result>(
        _ body: @escaping @Sendable (ReactorDevices, @escaping (Result) -> Void) -> Void,
        then: @escaping (Result) -> Void
    ) {
        if let devices = devices.value(on: main) { return body(devices, then) }
        // What `then` keeps goes with its call, and not when that reactor has forgotten the message.
        let answer = SendOnce(then)
        let main = main.handle
        handle.send { [devices] reactor in
            guard let devices = devices.value(on: reactor) else { return }
            body(devices) { result in
                let result = SendOnce(result)
                main.send { _ in
                    if let result = result.take(), let then = answer.take() { then(result) }
                }
            }
        }
    }
}
