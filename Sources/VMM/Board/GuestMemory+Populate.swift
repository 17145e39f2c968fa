import EventLoop
import Host
import Memory

extension GuestMemory {
    /// Faults all pages in, on several threads, so that the guest never waits for one.
    ///
    /// - Parameter place: the option that asks for it.
    func populate(threads: Int, _ place: String) throws(MachineError) {
        // Beyond that the kernel would rather end processes, this one among them, than answer with an error.
        if pageSize == HostProcess.pageSize, let available = HostMemory.available, available < size {
            throw MachineError(
                place, "the guest's memory is \(size >> 20) MiB, the host has \(available >> 20) MiB available")
        }
        let count = max(1, min(threads, HostThread.availableCPUs, 16))
        let share = max(pageSize, (host.count / count + pageSize - 1) / pageSize * pageSize)
        Log.info("memory", "touching \(size >> 20) MiB; threads: \(count)")
        let failure = SendOnce<Errno>()
        do {
            var workers: [Box<HostThread>] = []
            for index in 0..<count {
                let part = host.dropFirst(index * share).prefix(share)
                guard part.count > 0 else { break }
                workers.append(
                    Box(
                        try HostThread(name: "populate \(index)") {
                            do throws(Errno) { try part.advise(.populateWrite) } catch { failure.put(error) }
                        }))
            }
            for worker in workers { worker.take()?.join() }
        } catch {
            failure.put(error)
        }
        if let failure = failure.take() {
            throw MachineError(place, "cannot get all of the guest's memory: \(failure)")
        }
    }
}
