package import Host

/// What is wrong with a vhost-user back end.
package enum VhostUserError: Error, Equatable, CustomStringConvertible {
    /// It cannot be reached.
    case connection(Errno)
    /// It has closed the connection.
    case closed
    /// It did not answer in time.
    case silent
    /// An answer, or something unasked, is not what the protocol says.
    case reply(String)
    /// It refused what it was asked; the number is the request's.
    case refused(UInt32)
    /// It lacks what is needed.
    case lacks(String)

    package var description: String {
        switch self {
        case .connection(let error): "\(error)"
        case .closed: "it has closed the connection"
        case .silent: "it does not answer"
        case .reply(let problem): "a message of it \(problem)"
        case .refused(let request): "it refused request \(request)"
        case .lacks(let what): "it lacks \(what)"
        }
    }
}
