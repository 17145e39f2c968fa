import Boot
import Bus
import Host
import Memory
import Options

extension GuestMemory {
    /// The memory that a machine's options describe.
    ///
    /// - Throws: what is wrong with its file or directory, or that the host has too little of what is asked for.
    static func make(
        _ options: LaunchOptions, _ board: BoardLayout.Memory
    ) throws(MachineError) -> GuestMemory {
        let places = MemoryPlaces(options)
        let backend = options.memoryBackend
        let memory = try make(backend, board, places)
        if !backend.dumpsGuestCore {
            do {
                try memory.host.advise(.dontDump)
            } catch {
                throw MachineError(places.core, "the kernel does not keep memory out of dumps: \(error)")
            }
        }
        if let policy = backend.policy.memoryPolicy, !backend.hostNodes.isEmpty {
            do {
                try memory.host.bind(to: backend.hostNodes, policy)
            } catch {
                let nodes = backend.hostNodes.map(String.init).joined(separator: ":")
                throw MachineError(
                    places.object, "cannot take memory from host-nodes=\(nodes) with policy=\(backend.policy): \(error)"
                )
            }
        }
        if backend.isPreallocated { try memory.populate(threads: options.topology.cpus, places.prealloc) }
        return memory
    }

    private static func make(
        _ backend: MemoryBackendSpec, _ board: BoardLayout.Memory, _ places: MemoryPlaces
    ) throws(MachineError) -> GuestMemory {
        guard let size = Int(exactly: backend.size) else {
            throw MachineError(places.size, "\(backend.size) bytes are more than this host can address")
        }
        if let path = backend.path { return try MemoryFile(path, places).memory(size, board, shared: backend.isShared) }
        do throws(Errno) {
            if backend.isShared || backend.kind == .memfd {
                let file = try FileDescriptor.memory(name: "apus-guest-memory")
                try file.truncate(to: backend.size)
                return try over(file, size, board, shared: backend.isShared)
            }
            return try GuestMemory(
                ranges: MemoryMap.regions(size: backend.size, board), mapping: try MappedRegion(anonymous: size))
        } catch {
            throw MachineError(places.size, "cannot get \(size >> 20) MiB of memory: \(error)")
        }
    }

    fileprivate static func over(
        _ file: consuming FileDescriptor, _ size: Int, _ board: BoardLayout.Memory, shared: Bool,
        pageSize: Int = HostProcess.pageSize
    ) throws(Errno) -> GuestMemory {
        let mapping = try MappedRegion(file: file, count: size, shared: shared)
        return try GuestMemory(
            ranges: MemoryMap.regions(size: UInt64(size), board), mapping: mapping,
            file: shared ? consume file : nil, pageSize: pageSize)
    }
}

/// How errors call the options that describe the guest's memory.
private struct MemoryPlaces {
    let object: String
    let size: String
    let path: String
    let core: String
    let prealloc: String

    init(_ options: LaunchOptions) {
        let backend = options.memoryBackend
        if options.machine.memoryBackend == nil {
            object = "-m"
            size = "-m"
            path = "-mem-path \(backend.path ?? "")"
            core = "-machine dump-guest-core"
            prealloc = "-mem-prealloc"
        } else {
            object = "-object \(backend.kind.rawValue),id=\(backend.id)"
            size = object
            path = "\(object),mem-path=\(backend.path ?? "")"
            core = "\(object),dump-guest-core"
            prealloc = "\(object),mem-prealloc"
        }
    }
}

/// The file that guest memory comes from.
private struct MemoryFile: ~Copyable {
    private let file: FileDescriptor
    private let status: FileStatus
    /// Bytes in each page of the file, if it lies on a hugetlbfs.
    private let hugePage: Int?
    private let place: String

    /// Opens the file at `path`, or a nameless one in the directory there.
    init(_ path: String, _ places: MemoryPlaces) throws(MachineError) {
        do throws(Errno) {
            try self.init(path, place: places.path)
        } catch {
            throw MachineError(places.path, "\(error)")
        }
    }

    private init(_ path: String, place: String) throws(Errno) {
        let isDirectory = (try? FileStatus(at: path))?.kind == .directory
        let file =
            isDirectory
            ? try FileDescriptor.temporary(in: path)
            : try FileDescriptor.open(path, [.readWrite, .create], mode: 0o600)
        let status = try FileStatus(of: file)
        let hugePage = try file.hugePageSize()
        (self.place, self.status, self.hugePage) = (place, status, hugePage)
        self.file = file
    }

    consuming func memory(
        _ size: Int, _ board: BoardLayout.Memory, shared: Bool
    ) throws(MachineError) -> GuestMemory {
        let (place, hugePage) = (place, hugePage)
        let pageSize = hugePage ?? HostProcess.pageSize
        guard status.kind == .regular else {
            throw MachineError(place, "is neither a directory nor a regular file")
        }
        guard size % pageSize == 0 else {
            throw MachineError(place, "-m has to be a multiple of the page size there, \(pageSize >> 10) KiB")
        }
        guard status.size == 0 || status.size >= UInt64(size) else {
            throw MachineError(place, "the file has \(status.size) bytes, -m wants \(size)")
        }
        do throws(Errno) {
            if status.size == 0 { try file.truncate(to: UInt64(size)) }
            return try GuestMemory.over(file, size, board, shared: shared, pageSize: pageSize)
        } catch {
            guard error == .noMemory, hugePage != nil else { throw MachineError(place, "\(error)") }
            let free = HostMemory.freeHugePages(of: pageSize).map { "\($0)" } ?? "fewer"
            throw MachineError(
                place,
                "\(size >> 20) MiB take \(size / pageSize) pages of \(pageSize >> 10) KiB and \(free) are free; "
                    + "raise /proc/sys/vm/nr_hugepages")
        }
    }
}

extension MemoryBackendSpec.Policy {
    /// Nil for what the kernel does by itself.
    fileprivate var memoryPolicy: MemoryPolicy? {
        switch self {
        case .standard: nil
        case .preferred: .preferred
        case .bind: .bind
        case .interleave: .interleave
        }
    }
}
