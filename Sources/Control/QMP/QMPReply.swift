package import JSONText

/// What a command came to.
package enum CommandOutcome: Equatable, Sendable {
    /// It is done; this is its `return` value.
    case done(JSONValue)
    /// It is done; this is its `return` value as JSON text.
    case written([UInt8])
    /// It failed.
    case failed(QMPError)
    /// It will finish when the `QMPReply` taken for it is completed, which may already have happened.
    case later
}

/// The answer that one command still owes its client.
///
/// Whoever holds it completes it once; a second completion does nothing, and so does any when the client has gone.
/// Dropped without being completed it answers with an error, so that no client waits for ever.
package final class QMPReply {
    private weak var session: QMPSession?
    private let serial: UInt64

    init(session: QMPSession, serial: UInt64) {
        self.session = session
        self.serial = serial
    }

    deinit {
        session?.finish(serial, .failed(QMPError("The command was given up")))
    }

    /// The command succeeded; most commands return an empty object.
    package func succeed(_ value: JSONValue = .emptyObject) {
        session?.finish(serial, .done(value))
    }

    /// The command failed, or succeeded without an answer if `error` is nil.
    package func finish(_ error: QMPError?) {
        if let error { fail(error) } else { succeed() }
    }

    /// The command failed.
    package func fail(_ error: QMPError) {
        session?.finish(serial, .failed(error))
    }
}
