/// What has its specs and keys but no device behind it: refused by name. To support one, take its line away.
let notYetSupported: [String] = []
