import Backends

/// The configuration of a block device, `struct virtio_blk_config` (virtio 1.2 section 5.2.4), and the features that
/// decide which of its fields count.
enum BlockConfig {
    static let capacity = 0
    static let segmentMaximum = 12
    static let blockSize = 20
    static let physicalBlockExponent = 24
    static let alignmentOffset = 25
    static let minimumIOSize = 26
    static let queueCount = 34
    static let maximumDiscardSectors = 36
    static let maximumDiscardSegments = 40
    static let discardAlignment = 44
    static let maximumWriteZeroesSectors = 48
    static let maximumWriteZeroesSegments = 52
    static let writeZeroesMayUnmap = 56
    static let size = 60

    /// The features of a device with this image.
    static func features(_ image: DiskImage, _ options: BlockDevice.Options) -> Features {
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

    /// The configuration of a device with this image.
    static func space(_ image: DiskImage, _ options: BlockDevice.Options, _ features: Features) -> ConfigSpace {
        var config = ConfigSpace(size: size)
        config.set(image.size / sectorSize, at: capacity)
        // Two descriptors of each chain hold the request's header and its status.
        config.set(UInt32(options.queueSize) &- 2, at: segmentMaximum)
        let block = image.limits.logicalBlockSize
        let ratio = image.limits.physicalBlockSize / max(block, 1)
        config.set(UInt32(clamping: block), at: blockSize)
        config.set(UInt8(clamping: max(ratio, 1).trailingZeroBitCount), at: physicalBlockExponent)
        config.set(UInt8(0), at: alignmentOffset)
        config.set(UInt16(clamping: ratio), at: minimumIOSize)
        config.set(UInt16(clamping: options.queues), at: queueCount)
        if features.contains(.blockDiscard) {
            config.set(BlockRange.mostSectors, at: maximumDiscardSectors)
            config.set(UInt32(BlockRange.mostSegments), at: maximumDiscardSegments)
            config.set(UInt32(clamping: UInt64(clamping: block) / sectorSize), at: discardAlignment)
        }
        if features.contains(.blockWriteZeroes) {
            config.set(BlockRange.mostSectors, at: maximumWriteZeroesSectors)
            config.set(UInt32(BlockRange.mostSegments), at: maximumWriteZeroesSegments)
            config.set(UInt8(options.discards ? 1 : 0), at: writeZeroesMayUnmap)
        }
        return config
    }
}
