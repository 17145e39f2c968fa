import Backends
import Host
import TestSupport
import Testing

@Suite struct RawRequestsTests {
    private static let size = 4 << 20

    /// Pieces of one buffer, cut and shifted so that almost nothing is aligned.
    private func pieces(
        _ buffer: IOBuffer, at start: Int, of count: Int, using random: inout RandomBytes
    ) -> [HostSlice] {
        var rest = buffer.all.dropFirst(start).prefix(count)
        var all: [HostSlice] = []
        while rest.count > 0 {
            let size = all.count == 15 ? rest.count : min(rest.count, 1 + random.below(max(1, count / 4)))
            all.append(rest.prefix(size))
            rest = rest.dropFirst(size)
        }
        return all
    }

    @Test(arguments: [false, true], [UInt64(1), 2, 3])
    func manyRequestsAtOnceLeaveWhatAModelSays(direct: Bool, seed: UInt64) throws {
        var random = RandomBytes(seed: seed)
        let file = try TemporaryFile(size: UInt64(Self.size))
        let image = try RawImage(path: file.path, readOnly: false, direct: direct)
        let user = try RawImageUser(image)
        var model = [UInt8](repeating: 0, count: Self.size)
        for _ in 0..<40 {
            // Requests of one round do not overlap, but share blocks: their order must not matter.
            var at = random.below(64) * 512
            var memory: [IOBuffer] = []
            var reads: [(slot: Int, at: Int, memory: IOBuffer, shift: Int, count: Int)] = []
            var slot = 0
            while slot < 32 {
                let count = 512 * (1 + random.below(slot % 8 == 0 ? 512 : 24))
                guard at + count <= Self.size else { break }
                let shift = random.below(3) == 0 ? 0 : random.below(64)
                let buffer = IOBuffer(capacity: count + 64, alignment: 4096)
                memory.append(buffer)
                switch random.below(8) {
                case 0:
                    model.replaceSubrange(at..<at + count, with: [UInt8](repeating: 0, count: count))
                    user.begin(
                        slot, random.below(2) == 0 ? .writeZeroes : .unmapZeroes, at: UInt64(at), count: UInt64(count))
                case 1, 2, 3:
                    user.begin(
                        slot, .read, at: UInt64(at), pieces(buffer, at: shift, of: count, using: &random))
                    reads.append((slot, at, buffer, shift, count))
                default:
                    let bytes = random.bytes(count)
                    buffer.all.dropFirst(shift).copy(from: bytes)
                    model.replaceSubrange(at..<at + count, with: bytes)
                    user.begin(
                        slot, .write, at: UInt64(at), pieces(buffer, at: shift, of: count, using: &random))
                }
                at += count + (random.below(4) == 0 ? 512 * random.below(200) : 0)
                slot += 1
            }
            user.wait(for: 0..<slot)
            for index in 0..<slot { #expect(user.results[index] == .some(nil)) }
            memory.removeAll()
            for read in reads {
                let got = read.memory.bytes(read.shift..<read.shift + read.count)
                let isSame = got == Array(model[read.at..<read.at + read.count])
                #expect(isSame, "\(read.count) bytes at \(read.at)")
            }
        }
        #expect(user.perform(.flush, at: 0) == nil)
        let isSame = try file.contents() == model
        #expect(isSame)
    }

    /// Sectors of one block written all at once, each a part of it: none may be lost.
    @Test(arguments: [1, 4096]) func neighboursInOneBlockAreKept(shift: Int) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: true, minimumAlignment: 4096)
        let user = try RawImageUser(image)
        for round in 1..<20 as Range<UInt8> {
            let buffer = IOBuffer(capacity: 32 * 512 + 4096, alignment: 4096)
            var wanted: [UInt8] = []
            for slot in 0..<32 {
                let piece = try #require(buffer.all.slice(at: shift % 4096 + slot * 512, count: 512))
                piece.fill(round &* 32 &+ UInt8(slot))
                wanted += piece.bytes
                user.begin(slot, .write, at: UInt64(slot * 512), [piece])
            }
            user.wait(for: 0..<32)
            let isSame = try Array(file.contents().prefix(wanted.count)) == wanted
            #expect(isSame)
        }
    }

    @Test(arguments: [false, true]) func unalignedTransfersOnLargeBlocks(read: Bool) throws {
        let file = try TemporaryFile(size: UInt64(Self.size))
        var random = RandomBytes(seed: 7)
        var model = (0..<8).flatMap { _ in random.bytes(Self.size / 8) }
        try file.write(model)
        let image = try RawImage(path: file.path, readOnly: false, direct: true, minimumAlignment: 4096)
        let user = try RawImageUser(image)
        for _ in 0..<60 {
            let count = 512 * (1 + random.below(1200))
            let at = 512 * random.below((Self.size - count) / 512)
            let buffer = IOBuffer(capacity: count + 64, alignment: 4096)
            let parts = pieces(buffer, at: random.below(64), of: count, using: &random)
            if read {
                #expect(user.perform(.read, at: UInt64(at), parts) == nil)
                let isSame = parts.flatMap(\.bytes) == Array(model[at..<at + count])
                #expect(isSame)
            } else {
                for part in parts { part.copy(from: random.bytes(part.count)) }
                model.replaceSubrange(at..<at + count, with: parts.flatMap(\.bytes))
                #expect(user.perform(.write, at: UInt64(at), parts) == nil)
            }
        }
        let isSame = try file.contents() == model
        #expect(isSame)
    }

    @Test(arguments: [false, true]) func aTruncatedImageIsAnError(direct: Bool) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: direct)
        let user = try RawImageUser(image)
        let buffer = IOBuffer(capacity: 64 << 10, alignment: 4096)
        try file.truncate(to: 96 << 10)
        #expect(user.perform(.read, at: 0, [buffer.all]) == nil)
        #expect(user.perform(.read, at: 64 << 10, [buffer.all]) == .ioError)
        #expect(user.perform(.read, at: 512 << 10, [buffer.all]) == .ioError)
        let unaligned = buffer.all.dropFirst(1).prefix(48 << 10)
        #expect(user.perform(.read, at: 64 << 10, [unaligned]) == .ioError)
        // In direct mode this needs a block that is no longer there.
        try file.truncate(to: 0)
        let part = try RawImage(path: file.path, readOnly: false, direct: true, minimumAlignment: 4096)
        #expect(try RawImageUser(part).perform(.write, at: 512, [buffer.all.prefix(512)]) == .ioError)
    }

    @Test func aReadOnlyFileTakesNoWrites() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let user = try RawImageUser(try RawImage(path: file.path, readOnly: true, direct: false))
        let buffer = IOBuffer(capacity: 4096)
        #expect(user.perform(.write, at: 0, [buffer.all]) != nil)
        #expect(user.perform(.discard, at: 0, count: 4096) != nil)
        #expect(user.perform(.writeZeroes, at: 0, count: 4096) != nil)
        #expect(user.perform(.read, at: 0, [buffer.all]) == nil)
    }

    /// Files in memory can punch holes but not zero ranges, so that zeroes are written as data.
    @Test func zeroesAreWrittenWhereTheFileSystemCannot() throws {
        let file = try TemporaryFile(size: 12 << 20, inMemory: true)
        try file.write([UInt8](repeating: 0xff, count: 12 << 20))
        let image = try RawImage(path: file.path, readOnly: false, direct: false)
        let user = try RawImageUser(image, segments: 4)
        #expect(user.perform(.writeZeroes, at: 512, count: 10 << 20) == nil)
        #expect(user.perform(.unmapZeroes, at: 11 << 20, count: 1 << 20) == nil)
        var wanted = [UInt8](repeating: 0xff, count: 12 << 20)
        wanted.replaceSubrange(512..<512 + 10 << 20, with: [UInt8](repeating: 0, count: 10 << 20))
        wanted.replaceSubrange(11 << 20..<12 << 20, with: [UInt8](repeating: 0, count: 1 << 20))
        let isSame = try file.contents() == wanted
        #expect(isSame)
    }

    @Test(arguments: [ZeroDetection.off, .keep, .unmap]) func detectsZeroes(detection: ZeroDetection) throws {
        let file = try TemporaryFile(size: 1 << 20)
        try file.write([UInt8](repeating: 0xff, count: 1 << 20))
        let image = try RawImage(path: file.path, readOnly: false, direct: false)
        let user = try RawImageUser(image, zeroDetection: detection)
        let buffer = IOBuffer(capacity: 256 << 10)
        #expect(user.perform(.write, at: 0, [buffer.all.prefix(4096), buffer.all.dropFirst(4096)]) == nil)
        #expect(user.perform(.flush, at: 0) == nil)
        let contents = try file.contents()
        let zeroes = contents.prefix { $0 == 0 }.count
        #expect(zeroes == 256 << 10)
        let others = contents.suffix(768 << 10).filter { $0 == 0xff }.count
        #expect(others == 768 << 10)
        let held = try file.allocatedBytes()
        #expect(detection == .unmap ? held <= 800 << 10 : held >= 1 << 20)
    }

    @Test func discardFreesBlocks() throws {
        let file = try TemporaryFile(size: 1 << 20)
        try file.write([UInt8](repeating: 0xff, count: 1 << 20))
        let user = try RawImageUser(try RawImage(path: file.path, readOnly: false, direct: false))
        #expect(user.perform(.discard, at: 0, count: 512 << 10) == nil)
        #expect(try file.allocatedBytes() <= 520 << 10)
        #expect(try FileStatus(at: file.path).size == 1 << 20)
    }

    @Test func stoppingEndsWhatIsHeldBack() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: true, minimumAlignment: 4096)
        let user = try RawImageUser(image)
        let buffer = IOBuffer(capacity: 4096, alignment: 4096)
        for slot in 0..<32 { user.begin(slot, .write, at: UInt64(slot % 8) * 512, [buffer.all.prefix(512)]) }
        // Those that wait for the same block end at once, without a completion.
        #expect(user.results.isEmpty)
        user.stop()
        let canceled = user.results.values.count { $0 == .canceled }
        #expect(canceled > 0)
        user.wait(for: 0..<32)
        user.begin(0, .read, at: 0, [buffer.all])
        #expect(user.results[0] == .some(.canceled))
        user.requests.restart()
        #expect(user.perform(.read, at: 0, [buffer.all]) == nil)
    }

    @Test func interruptedAndBusyOperationsAreTriedAgainButNotForEver() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: false)
        let user = try RawImageUser(image)
        let buffer = IOBuffer(capacity: 4096)
        for error in [Errno.interrupted, .again] {
            _ = user.requests.setSegment(0, of: 0, buffer.all)
            var step = user.requests.begin(0, .read, at: 0, count: 4096, segments: 1)
            var tries = 0
            while case .submit = step {
                step = user.requests.advance(0, result: -error.rawValue)
                tries += 1
            }
            guard case .done(let failure) = step else {
                Issue.record("still waiting")
                continue
            }
            #expect(failure == error)
            #expect(tries == 100)
        }
    }

    /// The test plays the kernel: whatever short results come, the request ends after all its bytes.
    @Test(arguments: [false, true]) func shortTransfersGoOn(direct: Bool) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: direct)
        let user = try RawImageUser(image)
        let buffer = IOBuffer(capacity: 8192, alignment: 4096)
        for index in 0..<4 {
            _ = user.requests.setSegment(index, of: 0, buffer.all.dropFirst(index * 2048).prefix(2048))
        }
        var step = user.requests.begin(0, .write, at: 0, count: 8192, segments: 4, isDurable: true)
        var submitted = 0
        for result in [512, 1024, 2048 + 512, 512, 2048, 1536] as [Int32] {
            guard case .submit = step else { break }
            submitted += 1
            step = user.requests.advance(0, result: result)
        }
        #expect(submitted == 6)
        guard case .submit = step else {
            Issue.record("a durable write must end with a sync")
            return
        }
        step = user.requests.advance(0, result: -Errno.noSpace.rawValue)
        guard case .done(let error) = step else {
            Issue.record("still waiting")
            return
        }
        #expect(error == .noSpace)
    }

    /// What a direct transfer did of a block does not count: the next one must begin at a block again.
    @Test func aShortDirectTransferGoesOnFromAWholeBlock() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage(path: file.path, readOnly: false, direct: true)
        let user = try RawImageUser(image)
        let buffer = IOBuffer(capacity: 8192, alignment: 4096)
        _ = user.requests.setSegment(0, of: 0, buffer.all)
        _ = user.requests.begin(0, .write, at: 0, count: 8192, segments: 1)
        let block = image.alignment.offset
        _ = user.requests.advance(0, result: Int32(block + 100))
        guard case .done(nil) = user.requests.advance(0, result: Int32(8192 - block)) else {
            Issue.record("the rest is not what was left of whole blocks")
            return
        }
    }
}
