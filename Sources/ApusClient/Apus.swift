import Glibc

/// An apus process, started by this one.
///
/// It outlives this object: whoever wants its end asks for it (`QMP.execute("quit")`, `kill`), and waits.
/// Use it on one thread at a time.
public final class Apus {
    /// The process's number.
    public let processID: Int32
    private let watch: Descriptor
    private var ending: Ending?

    private init(_ processID: Int32, _ watch: consuming Descriptor) {
        self.processID = processID
        self.watch = watch
    }

    /// Starts apus. It has no descriptors but its standard streams and those named here.
    ///
    /// - Parameters:
    ///   - arguments: the command line behind the program's name; nothing in it is a shell's.
    ///   - program: the binary; a name without a slash is looked for in `PATH`.
    ///   - descriptors: what apus inherits, by the numbers that its options name (`vhostfd=3`), from 3 up; the values
    ///     are this process's own, and stay open here.
    ///   - environment: `NAME=value` each; nil for this process's own.
    ///   - standardInput: what apus reads from; like the two below, nil for `/dev/null`.
    ///   - standardOutput: where a serial port with `stdio` writes to.
    ///   - standardError: where errors go, and the log unless `-D` names another place.
    /// - Throws: `system` if there is no such program, or a descriptor is not open.
    public static func launch(
        arguments: [String], program: String = "apus", descriptors: [Int32: Int32] = [:],
        environment: [String]? = nil, standardInput: Int32? = nil, standardOutput: Int32? = nil,
        standardError: Int32? = 2
    ) throws(ClientError) -> Apus {
        guard descriptors.keys.allSatisfy({ (3...1023).contains($0) }) else {
            throw .malformed("inherited descriptors have numbers from 3 to 1023 in apus")
        }
        let null = Descriptor(owning: try System.openNull())
        var places = descriptors
        places[0] = standardInput ?? null.number
        places[1] = standardOutput ?? null.number
        places[2] = standardError ?? null.number
        let child = try System.spawn(program, arguments: arguments, environment: environment, descriptors: places)
        return Apus(child, Descriptor(owning: try System.watch(child)))
    }

    /// Waits for the end of the process; nil if that is not within the time, and nil as time waits for ever.
    ///
    /// - Throws: `system` with `ECHILD` if somebody else in this process has collected it.
    public func wait(timeout: Duration? = nil) throws(ClientError) -> Ending? {
        let deadline = Deadline(timeout)
        repeat {
            if let ending = try wait(milliseconds: deadline.milliseconds) { return ending }
        } while !deadline.hasPassed
        return nil
    }

    func wait(milliseconds: Int32) throws(ClientError) -> Ending? {
        if ending == nil, try System.poll(watch.number, POLLIN, milliseconds: milliseconds, "waiting for apus") {
            ending = try System.collect(processID)
        }
        return ending
    }

    /// Sends a signal, SIGKILL unless another is named: as Kata Containers ends its machines. None if it has ended.
    public func kill(_ signal: Int32 = 9) {
        // As long as it has not been collected, no other process can have its number.
        if ending == nil { _ = Glibc.kill(processID, signal) }
    }
}
