import Control
import EventLoop
import Hypervisor
import Options

extension Machine {
    func addObject(_ spec: ObjectSpec, _ reply: QMPReply) {
        do throws(QMPError) {
            guard case .ioThread(let spec) = spec else {
                throw QMPError("object-add: only an iothread can be added while the machine runs")
            }
            guard !objects.contains(where: { $0.id == spec.id }) else {
                throw QMPError("object-add: there is an object '\(spec.id)' already")
            }
            guard parts.iothreads.count < options.limits.iothreads else {
                throw QMPError("object-add: a MicroVm has at most \(options.limits.iothreads) iothreads")
            }
            if parts.filters == nil {
                try startIOThread(spec.id)
                reply.succeed()
            } else {
                try takeSpareIOThread(spec.id, reply)
            }
        } catch {
            reply.fail(error)
        }
    }

    private func startIOThread(_ id: String) throws(QMPError) {
        do throws(MachineError) {
            let iothread = try IOThread(id: id, parts.bus, parts.layout)
            setIOThreads(parts.iothreads + [iothread], spare: [])
        } catch {
            throw QMPError("object-add: \(error)")
        }
    }

    /// A filtered process cannot start a thread, so one that waits becomes the iothread.
    private func takeSpareIOThread(_ id: String, _ reply: QMPReply) throws(QMPError) {
        guard let iothread = parts.spareIOThreads.first else {
            throw QMPError(
                "object-add: no spare iothread is left, and the filter of system calls lets no thread be started; "
                    + "object-del one, or start the machine with -machine microvm,spare-iothreads=N, with -object "
                    + "iothread,id=\(id), or with -disable-seccomp")
        }
        setIOThreads(parts.iothreads + [iothread], spare: Array(parts.spareIOThreads.dropFirst()))
        iothread.rename(id, on: reactor) { reply.succeed() }
    }

    func removeObject(_ id: String, _ reply: QMPReply) {
        do throws(QMPError) {
            guard let iothread = parts.iothreads.first(where: { $0.id == id }) else {
                throw QMPError("object-del: there is no iothread '\(id)'")
            }
            if let user = parts.slots.devices.first(where: { $0.iothread == id || $0.helper == id }) {
                throw QMPError("object-del: '\(id)' is in use by the device \(user.id)")
            }
            guard !operations.isBusy else {
                throw QMPError("object-del: a device is just being plugged in or out; try again")
            }
            remove(iothread, reply)
        } catch {
            reply.fail(error)
        }
    }

    private func remove(_ iothread: IOThread, _ reply: QMPReply) {
        let others = parts.iothreads.filter { $0 !== iothread }
        // Only where there are spare ones may its thread take another name.
        if options.spareIOThreads > 0 {
            setIOThreads(others, spare: parts.spareIOThreads + [iothread])
            iothread.rename(IOThread.spareName, on: reactor) { reply.succeed() }
        } else {
            setIOThreads(others, spare: [])
            iothread.stop()
            reply.succeed()
        }
    }
}
