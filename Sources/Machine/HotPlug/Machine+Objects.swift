import Control
import EventLoop
import Hypervisor
import Options

extension Machine {
    func addObject(_ spec: ObjectSpec) throws(QMPError) {
        guard case .ioThread(let spec) = spec else {
            throw QMPError("object-add: only an iothread can be added while the machine runs")
        }
        guard options.object(spec.id) == nil, !parts.iothreads.contains(where: { $0.id == spec.id }) else {
            throw QMPError("object-add: there is an object '\(spec.id)' already")
        }
        guard parts.iothreads.count < LaunchOptions.Limits.iothreads else {
            throw QMPError("object-add: a MicroVm has at most \(LaunchOptions.Limits.iothreads) iothreads")
        }
        guard parts.filters == nil else {
            throw QMPError(
                "object-add: the filter of system calls lets no thread be started any more; give -object "
                    + "iothread,id=\(spec.id) on the command line, or -disable-seccomp")
        }
        do throws(MachineError) {
            let iothread = try IOThread(id: spec.id)
            guard parts.router.add(iothread.handle) else {
                iothread.stop()
                throw MachineError("object-add", "there are too many iothreads")
            }
            try iothread.perform { [ports = parts.ports] home in home.reactor.serve(ports, with: home.bus) }
            setIOThreads(parts.iothreads + [iothread])
        } catch {
            throw QMPError("object-add: \(error)")
        }
    }

    func removeObject(_ id: String) throws(QMPError) {
        guard let iothread = parts.iothreads.first(where: { $0.id == id }) else {
            throw QMPError("object-del: there is no iothread '\(id)'")
        }
        if let user = parts.slots.devices.first(where: { $0.iothread == id || $0.helper == id }) {
            throw QMPError("object-del: '\(id)' is in use by the device \(user.id)")
        }
        guard !operations.isBusy else {
            throw QMPError("object-del: a device is just being plugged in or out; try again")
        }
        parts.router.remove(iothread.handle)
        setIOThreads(parts.iothreads.filter { $0 !== iothread })
        iothread.stop()
    }
}
