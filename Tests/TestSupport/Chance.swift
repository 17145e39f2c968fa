import Glibc

/// How far the tests go whose cases are made by chance: a little and always the same way, unless the environment says
/// how many cases each is to make (`APUS_CASES`) and from which seed (`APUS_SEED`), as hack/soak does.
package enum Chance {
    private static func number(_ name: String) -> UInt64? {
        guard let text = unsafe getenv(name) else { return nil }
        return unsafe UInt64(String(cString: text))
    }

    /// Whether as many cases are wanted as were asked for, however long that takes.
    package static var isLong: Bool { number("APUS_CASES") != nil }

    /// How many cases to make: `few`, if nothing else is said.
    package static func cases(_ few: Int) -> Int { number("APUS_CASES").map { Int(clamping: $0) } ?? few }

    /// The seed of a test that has `own` when nothing else is said.
    package static func seed(_ own: UInt64) -> UInt64 { own &+ (number("APUS_SEED") ?? 0) }

    /// Tells how many cases there were, where that was asked for.
    package static func report(_ cases: Int, of kind: String) {
        if isLong { print("\(cases) cases of \(kind)") }
    }
}
