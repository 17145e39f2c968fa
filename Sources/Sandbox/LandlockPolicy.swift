package import Host

/// What a running machine may still reach, with the threads that it starts: paths, and privileges.
package struct LandlockPolicy: Sendable {
    /// Whether paths are limited.
    package enum PathLimit: Sendable {
        case none
        /// Where the kernel can.
        case ifPossible
        case always
    }

    /// The machine's own files, which it removes at its end.
    package var ownFiles: [String] = []
    /// Files, and directories of files, that devices to come may use.
    package var usable: [String] = []
    /// Such files where they exist.
    package var usableIfThere: [String] = []
    package var paths = PathLimit.ifPossible
    /// What it keeps of its privileges.
    package var capabilities: Capabilities = []

    package init() {}

    /// Gives up the rest, in the calling thread and all it starts: before it starts any, and when all is open that the
    /// machine begins with.
    package func limit() throws(ReachError) {
        do throws(Errno) {
            try Capabilities.gainNone()
            try limitCapabilities()
        } catch {
            throw ReachError("cannot give up privileges: \(error)")
        }
        guard paths != .none else { return }
        guard PathRules.kernelVersion > 0 else {
            guard paths == .ifPossible else {
                throw ReachError("this kernel has no Landlock, or does not use it; write landlock=off")
            }
            return Log.info("sandbox", "this kernel has no Landlock: paths are not limited")
        }
        try limitPaths()
    }

    /// The directories that the machine takes its own files out of.
    private var ownFolders: Set<String> {
        Set(
            ownFiles.map { path in
                guard let slash = path.lastIndex(of: "/") else { return "." }
                return slash == path.startIndex ? "/" : String(path[..<slash])
            })
    }

    private func limitCapabilities() throws(Errno) {
        let present = try Capabilities.current()
        guard !present.isEmpty else { return }
        var kept = present.intersection(capabilities)
        // Its own files may lie where only privilege lets it remove them.
        if present.contains(.allFiles), !kept.contains(.allFiles), !ownFolders.isEmpty {
            try Capabilities.set(present, usable: kept)
            if !ownFolders.allSatisfy(mayChangeFiles) { kept.insert(.allFiles) }
        }
        try Capabilities.set(kept, usable: kept)
    }

    private func limitPaths() throws(ReachError) {
        let rules: PathRules
        do throws(Errno) {
            rules = try PathRules()
        } catch {
            throw ReachError("cannot limit paths: \(error)")
        }
        for folder in ownFolders { try allow(.remove, folder, rules) }
        for path in usable { try allow(.use, path, rules, key: "landlock-paths: ") }
        for path in usableIfThere { try? rules.allow(.use, at: path) }
        do throws(Errno) {
            try rules.enforce()
        } catch {
            throw ReachError("cannot limit paths: \(error)")
        }
    }

    /// - Parameter key: what the error for a path that was given begins with.
    private func allow(
        _ rights: PathRights, _ path: String, _ rules: borrowing PathRules, key: String = ""
    ) throws(ReachError) {
        do throws(Errno) {
            try rules.allow(rights, at: path)
        } catch {
            throw ReachError("\(key)cannot leave '\(path)' within reach: \(error)")
        }
    }
}

/// Why a machine cannot be limited.
package struct ReachError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
