/// Serves the threads that call a reactor: each has a number, announces itself, and waits for its answer.
///
/// The reactor knows neither what a caller asks nor where it wrote it down: a subclass does.
open class CallServer {
    public init() {}

    /// Serves the caller of this number, which has announced itself. Runs on the reactor's thread.
    open func serve(caller: Int) {}

    /// Takes a word whose sender does not wait. Words come in the order in which they were posted, and those of a
    /// caller before its call.
    open func takePosted(_ word: UInt64) {}
}
