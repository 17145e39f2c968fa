/// The things of one kind that others refer to by id, each by one user at most.
struct References {
    private let option: String
    private let known: [String]
    private var free: Set<String>

    /// The ids that `option` has given.
    init(to option: String, _ known: [String]) {
        self.option = option
        self.known = known
        free = Set(known)
    }

    /// Takes `id` for `user`, which names it under `key`. Throws an error if there is none or it is taken.
    mutating func use(_ id: String, in user: String, key: String) throws(OptionError) {
        guard free.remove(id) != nil else {
            guard known.contains(id) else { throw .noSuch(option, id, in: user, key: key, known: known) }
            throw OptionError(
                option: user, offending: id, problem: "\(key): \(quoted(id)) is in use already",
                remedy: "each \(option) serves one user")
        }
    }
}

extension OptionError {
    /// The error for an id that `option` has not given.
    static func noSuch(_ option: String, _ id: String, in user: String, key: String, known: [String]) -> OptionError {
        let names = known.prefix(8).map { quoted($0) }.joined(separator: ", ") + (known.count > 8 ? ", ..." : "")
        return OptionError(
            option: user, offending: id, problem: "\(key): no \(option) has the id \(quoted(id))",
            remedy: known.isEmpty ? "there is no \(option)" : "known ids: \(names)")
    }
}
