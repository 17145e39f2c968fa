/// How long to wait before a back end that has gone is looked for again: longer after each failure in a row, so that
/// one which always ends again costs little, whoever makes it end.
package struct ReconnectDelay {
    /// Before the first try, in nanoseconds: a back end that is started anew is needed soon.
    package static let shortest: UInt64 = 2_000_000
    /// Before any try: five in a second cost nothing that is felt, and a folder is away no longer than that. A connection
    /// that has lived that long ends a row of failures.
    package static let longest: UInt64 = 200_000_000

    private var next = ReconnectDelay.shortest

    package init() {}

    /// The delay before the next try.
    ///
    /// - Parameter life: how long the connection lived that has ended, in nanoseconds; 0 if there was none.
    package mutating func take(afterLife life: UInt64) -> UInt64 {
        if life >= Self.longest { next = Self.shortest }
        defer { next = min(next * 2, Self.longest) }
        return next
    }
}
