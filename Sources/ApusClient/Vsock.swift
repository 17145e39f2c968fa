/// Calls to programs in the guest, such as a container runtime's agent.
public enum Vsock {
    /// Calls a port of a guest whose device is `vhost-vsock-device,socket=PATH`.
    ///
    /// - Parameters:
    ///   - process: the machine, so that its end ends the waiting.
    ///   - timeout: it is tried until then whether somebody listens in the guest; zero tries once.
    /// - Throws: `ended` if the process has; otherwise what was in the way at last: `closed` if nobody listens there.
    public static func dial(
        socket path: String, port: UInt32, of process: Apus? = nil, timeout: Duration = .seconds(10)
    ) throws(ClientError) -> Connection {
        let deadline = Deadline(timeout)
        let task = "port \(port) of the guest behind \(path)"
        return try retry(until: deadline, watching: process) { () throws(ClientError) -> Connection in
            let connection = Connection(try System.connect(unix: path, task, deadline: deadline), task)
            try connection.send(Array("CONNECT \(port)\n".utf8), with: nil, deadline)
            guard let answer = try connection.line(atMost: 32, deadline) else { throw .closed(task) }
            guard answer.starts(with: "OK ".utf8) else {
                throw .malformed("\(task): answered '\(String(decoding: answer, as: UTF8.self))', not OK")
            }
            return connection
        }
    }

    /// Calls a port of a guest whose sockets the kernel serves: `vhost-vsock-device,guest-cid=CID`.
    ///
    /// Parameters and errors are those of the other.
    public static func dial(
        cid: UInt32, port: UInt32, of process: Apus? = nil, timeout: Duration = .seconds(10)
    ) throws(ClientError) -> Connection {
        let deadline = Deadline(timeout)
        let task = "port \(port) of the guest \(cid)"
        return try retry(until: deadline, watching: process) { () throws(ClientError) -> Connection in
            Connection(try System.connect(cid: cid, port: port, task, deadline: deadline), task)
        }
    }
}
