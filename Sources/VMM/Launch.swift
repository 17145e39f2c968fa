import Control
import EventLoop
import Host
package import Options
import Sandbox

/// Starts the machine that `options` describe, and stays until it has ended.
///
/// - Returns: the process's exit status: 0 when the machine ended in good order, 1 when it could not be started, 2
///   when it was lost.
package func launch(_ options: LaunchOptions) -> Int32 {
    do {
        return try run(options)
    } catch {
        HostProcess.printError("apus: \(error)\n")
        return 1
    }
}

private func run(_ options: LaunchOptions) throws(MachineError) -> Int32 {
    HostProcess.useOneHeap()
    // Before anything slow, and before there is a second thread: a process that forks keeps only one.
    var daemon: Daemon? = options.isDaemon ? try detach() : nil
    // All paths but the jail's own are looked for in it.
    let number = try enterJail(options)
    let listeners = try bind(options)
    try openLog(options)
    let pidfile = try options.pidfile.map { path throws(MachineError) in try writePidFile(path, number) }
    defer { _ = pidfile }

    let signals = try takeOverSignals()
    let reactor = try makeReactor()
    let machine = Machine(options, reactor: reactor)
    try machine.build()
    let watch = SignalWatch(signals, reactor: reactor) { [runControl = machine.runControl] in
        runControl.end(.signal($0))
    }
    defer { _ = watch }
    machine.serve(listeners)
    do {
        if !options.startsPaused { try machine.runControl.start() }
        if let daemon = daemon.take() { try release(daemon) }
        // From its first turn on this thread handles what guests and clients send.
        try machine.filterMainThread()
    } catch {
        machine.abandon()
        throw error
    }
    Log.info("machine", options.startsPaused ? "waiting for cont" : "running")
    reactor.run()
    return machine.finish()
}

private func detach() throws(MachineError) -> Daemon {
    do {
        return try Daemon.detach()
    } catch {
        throw MachineError("-daemonize", "\(error)")
    }
}

/// Puts the process into what `-sandbox` describes; its number for those outside.
private func enterJail(_ options: LaunchOptions) throws(MachineError) -> Int32 {
    do {
        return try options.jail.enter()
    } catch {
        throw MachineError("-sandbox", "\(error.key): \(error.problem)")
    }
}

/// Lets the process that started this one end, since everything is in place.
private func release(_ daemon: consuming Daemon) throws(MachineError) {
    do {
        try daemon.ready()
    } catch {
        throw MachineError("-daemonize", "cannot give up the standard streams: \(error)")
    }
}

private func takeOverSignals() throws(MachineError) -> FileDescriptor {
    do {
        try Signals.reportMissingMemory(log: Log.descriptor, status: EndCause.lostStatus)
        return try Signals.takeOver()
    } catch {
        throw MachineError("signals", "\(error)")
    }
}

private func makeReactor() throws(MachineError) -> Reactor {
    do {
        return try Reactor(name: "main")
    } catch {
        throw MachineError("io_uring", "cannot make the event loop: \(error); Linux 6.1 or newer is needed")
    }
}

private func bind(_ options: LaunchOptions) throws(MachineError) -> [Box<QMPListener>] {
    var listeners: [Box<QMPListener>] = []
    for monitor in options.monitors {
        do {
            listeners.append(Box(try QMPListener.bind(monitor.endpoint)))
        } catch {
            throw MachineError("-qmp", "\(error)")
        }
    }
    return listeners
}

private func openLog(_ options: LaunchOptions) throws(MachineError) {
    if let level = (HostProcess.environment("APUS_LOG") ?? HostProcess.environment("STRATOVIRT_LOG_LEVEL")).flatMap(
        LogLevel.init(name:))
    {
        Log.setLevel(level)
    }
    guard case .file(let path) = options.log else {
        // A daemon gives standard error up, and its parent waits for that.
        if !options.isDaemon { Log.unblockStandardError() }
        return
    }
    do {
        Log.setOutput(try LogFile.open(path))
    } catch {
        throw MachineError("-D \(path)", "cannot open the log: \(error)")
    }
}

private func writePidFile(_ path: String, _ number: Int32) throws(MachineError) -> Box<PidFile> {
    do {
        return Box(try PidFile(path, number: number))
    } catch {
        throw MachineError(
            "-pidfile \(path)", error == .exists ? "the file exists; remove it if no machine uses it" : "\(error)")
    }
}
