package import Host

extension Errno {
    /// Why an operation that waits for an event has failed, by its result; nil if there is no failure, or none but that
    /// it has to wait again.
    package init?(ofWait result: Int32) {
        let error = Errno(rawValue: 0 &- result)
        guard result < 0, error != .again, error != .interrupted else { return nil }
        self = error
    }
}
