extension Command {
    /// What management tools ask of every monitor and a microVM has nothing of; the empty answers are the truth.
    static let compatibility: [Command] = [
        .constant("query-tpm-models", "TPM models; there are none.", []),
        .constant("query-tpm-types", "TPM back ends; there are none.", []),
        .constant("query-migrate-capabilities", "Migration capabilities; there are none.", []),
        .constant("query-gic-capabilities", "Emulated interrupt controllers of AArch64; there are none.", []),
    ]
}
