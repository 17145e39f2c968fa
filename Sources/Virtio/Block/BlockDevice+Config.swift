import Backends

/// What a driver can learn about the disk before its first request.
extension BlockDevice {
    /// What the disk can do.
    static func features(_ image: RawImage, _ options: Options) -> Features {
        var features: Features = [
            .splitRing, .blockSegmentMaximum, .blockSize, .blockTopology, .blockFlush,
        ]
        if options.queues > 1 { features.insert(.blockMultiqueue) }
        if image.isReadOnly {
            features.insert(.blockReadOnly)
        } else {
            if options.discards { features.insert(.blockDiscard) }
            if options.zeroDetection != .off { features.insert(.blockWriteZeroes) }
        }
        return features
    }

    /// `struct virtio_blk_config` (virtio 1.2 section 5.2.4).
    static func config(_ image: RawImage, _ options: Options, _ features: Features) -> ConfigSpace {
        var config = ConfigSpace(size: 60)
        config.set(image.size / sectorSize, at: 0)
        // Two descriptors of each chain hold the request's header and its status.
        config.set(UInt32(options.queueSize) &- 2, at: 12)
        let block = image.logicalBlockSize
        let ratio = image.physicalBlockSize / max(block, 1)
        config.set(UInt32(clamping: block), at: 20)
        // physical_block_exp, alignment_offset, min_io_size
        config.set(UInt8(clamping: max(ratio, 1).trailingZeroBitCount), at: 24)
        config.set(UInt8(0), at: 25)
        config.set(UInt16(clamping: ratio), at: 26)
        config.set(UInt16(clamping: options.queues), at: 34)
        if features.contains(.blockDiscard) {
            config.set(BlockRange.mostSectors, at: 36)
            config.set(UInt32(BlockRange.mostSegments), at: 40)
            config.set(UInt32(clamping: UInt64(clamping: block) / sectorSize), at: 44)
        }
        if features.contains(.blockWriteZeroes) {
            config.set(BlockRange.mostSectors, at: 48)
            config.set(UInt32(BlockRange.mostSegments), at: 52)
            config.set(UInt8(options.discards ? 1 : 0), at: 56)
        }
        return config
    }
}
