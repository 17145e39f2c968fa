/// The word of `known` that was probably meant by `text`; nil if none is near.
///
/// Case and the difference between `-` and `_` don't count; beyond those, one letter in three may differ, or a word
/// may lack its end.
func nearest(to text: String, among known: [String]) -> String? {
    guard text.utf8.count <= 64 else { return nil }
    let wanted = folded(text)
    var best: (word: String, distance: Int)?
    for word in known {
        let candidate = folded(word)
        let distance = editDistance(wanted, candidate)
        guard distance <= (candidate.count + 1) / 3, distance < best?.distance ?? Int.max else { continue }
        best = (word, distance)
    }
    return best?.word ?? known.first { wanted.count >= 3 && folded($0).starts(with: wanted) }
}

private func folded(_ text: String) -> [UInt8] {
    text.utf8.map { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
        case UInt8(ascii: "_"): .dash
        default: byte
        }
    }
}

/// How many bytes have to be inserted, removed or replaced (Levenshtein).
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var row = Array(0...right.count)
    for (line, byte) in left.enumerated() {
        var diagonal = line
        row[0] = line + 1
        for (column, other) in right.enumerated() {
            let replaced = diagonal + (byte == other ? 0 : 1)
            diagonal = row[column + 1]
            row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
        }
    }
    return row[right.count]
}
