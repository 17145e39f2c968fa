import Boot
import Host
import Memory
import Options

extension GuestMemory {
    /// The memory that the options `-m`, `-mem-path`, `-mem-prealloc` and `-machine` describe.
    static func make(_ options: LaunchOptions) throws(MachineError) -> GuestMemory {
        guard let size = Int(exactly: options.memory.size) else {
            throw MachineError("-m", "\(options.memory.size) bytes are more than this host can address")
        }
        let memory: GuestMemory
        do {
            if let path = options.memory.path {
                memory = try inFile(path, size, shared: options.machine.sharesMemory)
            } else if options.machine.sharesMemory {
                let file = try FileDescriptor.memory(name: "apus-guest-memory")
                try file.truncate(to: options.memory.size)
                memory = try over(file, size, shared: true)
            } else {
                memory = try GuestMemory(
                    ranges: MemoryMap.regions(size: options.memory.size), mapping: try MappedRegion(anonymous: size))
            }
        } catch let error as MachineError {
            throw error
        } catch let error as Errno {
            throw MachineError("-m", "cannot get \(options.memory.size >> 20) MiB of memory: \(error)")
        } catch {
            throw MachineError("-m", "\(error)")
        }
        if !options.machine.dumpsGuestCore {
            do {
                try memory.host.advise(.dontDump)
            } catch {
                throw MachineError("-machine dump-guest-core", "the kernel does not keep memory out of dumps: \(error)")
            }
        }
        if options.memory.isPreallocated { try memory.populate(threads: options.topology.cpus) }
        return memory
    }

    private static func over(
        _ file: consuming FileDescriptor, _ size: Int, shared: Bool
    ) throws(Errno) -> GuestMemory {
        let mapping = try MappedRegion(file: file, count: size, shared: shared)
        return try GuestMemory(
            ranges: MemoryMap.regions(size: UInt64(size)), mapping: mapping, file: shared ? consume file : nil)
    }

    /// Memory in a file at `path`, or in a nameless one in the directory there.
    private static func inFile(_ path: String, _ size: Int, shared: Bool) throws -> GuestMemory {
        let place = "-mem-path \(path)"
        do {
            let isDirectory = (try? FileStatus(at: path))?.kind == .directory
            let file =
                isDirectory
                ? try FileDescriptor.temporary(in: path)
                : try FileDescriptor.open(path, [.readWrite, .create], mode: 0o600)
            let status = try FileStatus(of: file)
            guard status.kind == .regular else {
                throw MachineError(place, "is neither a directory nor a regular file")
            }
            guard status.blockSize > 0, UInt64(size) % status.blockSize == 0 else {
                throw MachineError(
                    place, "-m has to be a multiple of the page size there, \(status.blockSize >> 10) KiB")
            }
            if status.size == 0 {
                try file.truncate(to: UInt64(size))
            } else if status.size < UInt64(size) {
                throw MachineError(place, "the file has \(status.size) bytes, -m wants \(size)")
            }
            return try over(file, size, shared: shared)
        } catch let error as Errno {
            throw MachineError(
                place, error == .noMemory ? "there are not enough free pages for \(size >> 20) MiB" : "\(error)")
        }
    }

    /// Faults all pages in, on several threads, so that the guest never waits for one.
    private func populate(threads: Int) throws(MachineError) {
        let count = max(1, min(threads, HostThread.availableCPUs, 16))
        let page = Process.pageSize
        let share = max(page, (host.count / count + page - 1) / page * page)
        let failures = FailureNote()
        do {
            var workers: [Worker] = []
            for index in 0..<count {
                let part = host.dropFirst(index * share).prefix(share)
                guard part.count > 0 else { break }
                workers.append(
                    Worker(
                        try HostThread(name: "populate \(index)") {
                            do throws(Errno) { try part.advise(.populateWrite) } catch { failures.note(error) }
                        }))
            }
            for worker in workers { worker.join() }
        } catch {
            failures.note(error)
        }
        if let failure = failures.first {
            throw MachineError("-mem-prealloc", "cannot get all of the guest's memory: \(failure)")
        }
    }
}

/// A thread in a list, which can't hold it directly.
private final class Worker {
    private var thread: HostThread?

    init(_ thread: consuming HostThread) {
        self.thread = consume thread
    }

    func join() { thread.take()?.join() }
}
