package import Host

/// The paths and capabilities that the process keeps while the guest runs.
package struct LandlockPolicy: Sendable {
    /// Whether Landlock limits paths.
    package enum PathLimit: Sendable {
        case none
        /// Limit paths if the kernel has Landlock.
        case ifPossible
        /// Limit paths, or fail.
        case always
    }

    /// Sockets and the pid file, which Apus removes at its end.
    package var ownFiles: [String] = []
    /// Files, and directories of files, that hot-plugged devices may use.
    package var usable: [String] = []
    /// Files like `usable`, but ignored if they do not exist.
    package var usableIfThere: [String] = []
    /// Whether to limit paths.
    package var paths = PathLimit.ifPossible
    /// The capabilities to keep.
    package var capabilities: Capabilities = []

    /// No paths and no capabilities.
    package init() {}

    /// Applies the policy to the calling thread and all threads that it starts later.
    ///
    /// Call it before the first thread starts, and after all files of the command line are open.
    package func limit() throws(LandlockError) {
        do throws(Errno) {
            try Capabilities.gainNone()
            try limitCapabilities()
        } catch {
            throw LandlockError("cannot drop capabilities: \(error)")
        }
        guard paths != .none else { return }
        guard PathRules.kernelVersion > 0 else {
            guard paths == .ifPossible else {
                throw LandlockError("cannot limit paths: the kernel has no Landlock, or disables it; use landlock=off")
            }
            return Log.info("sandbox", "the kernel has no Landlock; Apus does not limit paths")
        }
        try limitPaths()
    }

    /// The directories of `ownFiles`.
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
        // Removing `ownFiles` may require CAP_DAC_OVERRIDE: try without it, and keep it if it is needed.
        if present.contains(.allFiles), !kept.contains(.allFiles), !ownFolders.isEmpty {
            try Capabilities.set(present, usable: kept)
            if !ownFolders.allSatisfy(mayChangeFiles) { kept.insert(.allFiles) }
        }
        try Capabilities.set(kept, usable: kept)
    }

    private func limitPaths() throws(LandlockError) {
        let rules: PathRules
        do throws(Errno) {
            rules = try PathRules()
        } catch {
            throw LandlockError("cannot limit paths: \(error)")
        }
        for folder in ownFolders { try allow(.remove, folder, rules) }
        for path in usable { try allow(.use, path, rules, key: "landlock-paths: ") }
        for path in usableIfThere { try? rules.allow(.use, at: path) }
        do throws(Errno) {
            try rules.enforce()
        } catch {
            throw LandlockError("cannot limit paths: \(error)")
        }
    }

    /// - Parameter key: the prefix of the error, for a path of the command line.
    private func allow(
        _ rights: PathRights, _ path: String, _ rules: borrowing PathRules, key: String = ""
    ) throws(LandlockError) {
        do throws(Errno) {
            try rules.allow(rights, at: path)
        } catch {
            throw LandlockError("\(key)cannot allow '\(path)': \(error)")
        }
    }
}

/// A failure to drop capabilities or to limit paths.
package struct LandlockError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What failed, the cause and the remedy.
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
