extension Log {
    /// `2026-01-31T12:00:00.000000Z` of nanoseconds since 1970.
    static func timeStamp(_ nanoseconds: UInt64) -> String {
        let day = date(nanoseconds / 86_400_000_000_000)
        let second = nanoseconds / 1_000_000_000 % 86_400
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = [(day.year, 4), (day.month, 2), (day.day, 2)]
        let time = [(second / 3600, 2), (second / 60 % 60, 2), (second % 60, 2)]
        return date.map { padded($0.0, $0.1) }.joined(separator: "-") + "T"
            + time.map { padded($0.0, $0.1) }.joined(separator: ":")
            + "." + padded(nanoseconds / 1000 % 1_000_000, 6) + "Z"
    }

    /// The date of a day since 1970. The C library would open its time zone's file to tell, which a filtered thread
    /// must not.
    ///
    /// A year is counted from March here, so that a leap day is its last; 400 years have 146,097 days.
    private static func date(_ daysSince1970: UInt64) -> (year: UInt64, month: UInt64, day: UInt64) {
        let sinceYear0 = daysSince1970 + 719_468
        let (cycles, days) = sinceYear0.quotientAndRemainder(dividingBy: 146_097)
        let year = (days - days / 1460 + days / 36_524 - days / 146_096) / 365
        let dayOfYear = days - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        let isNextYear = month >= 10
        return (
            cycles * 400 + year + (isNextYear ? 1 : 0), isNextYear ? month - 9 : month + 3,
            dayOfYear - (153 * month + 2) / 5 + 1
        )
    }
}
