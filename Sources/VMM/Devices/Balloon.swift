import Control
import EventLoop
import Host
import Options
import Virtio

/// The balloon of the VM. It belongs to the main reactor, like the QMP clients that control it.
final class Balloon: MachineDevice {
    let id: String
    let type = "virtio-balloon-device"
    private let device: BalloonDevice
    /// The guest's memory, in pages of the balloon.
    private let pages: UInt32

    /// - Parameter memory: the guest's, in bytes.
    init(_ spec: BalloonDeviceSpec, memory: UInt64) {
        id = spec.id ?? "balloon"
        let pages = UInt32(clamping: memory / balloonPageSize)
        let policy = spec.automatic.map { automatic in
            AutoBalloonPolicy(
                memory: pages, bufferPercent: UInt8(clamping: automatic.bufferPercent),
                interval: UInt64(clamping: automatic.interval) * 1_000_000_000)
        }
        device = BalloonDevice(
            id: id, deflatesOnOutOfMemory: spec.deflatesOnOutOfMemory, reportsFreePages: spec.reportsFreePages,
            policy: policy)
        self.pages = pages
    }

    var maker: DeviceMaker {
        let device = SendOnce(device)
        return { [id] _, _ throws(MachineError) in
            guard let device = device.take() else { throw MachineError("-device id=\(id)", "is attached already") }
            return device
        }
    }

    /// Tells clients from now on when the guest makes do with another amount of memory, or is asked to.
    ///
    /// - Parameter reactor: the main one.
    func postChanges(to events: EventSink, on reactor: Reactor) {
        device.onChange = { [weak self] in
            if let self { events.clients(on: reactor)?.post(.balloonChanged(actual: actual)) }
        }
    }

    /// Bytes of guest memory, without what the guest has given up.
    var actual: UInt64 { UInt64(pages - min(pages, device.givenUp)) * balloonPageSize }

    /// Asks the guest to shrink or grow its memory to `bytes`.
    func set(_ bytes: UInt64) throws(QMPError) {
        guard device.isActive else { throw .noBalloon }
        guard device.hasEffect else {
            throw QMPError("balloon: guest memory is of huge pages, which the host cannot free in parts")
        }
        device.setTarget(pages - UInt32(clamping: min(UInt64(pages), bytes / balloonPageSize)))
        device.onChange?()
    }

    /// Calls `answer` with the balloon's state; with `mayAsk`, after asking the guest for new statistics.
    func query(mayAsk: Bool, _ answer: @escaping (BalloonInfo) -> Void) {
        let finish = { [self] in
            let statistics = device.lastStatistics.map { last in
                BalloonInfo.Statistics(
                    values: last.values.reported.map { ($0.item.rawValue, $0.value) }, time: last.time / 1_000_000_000)
            }
            answer(BalloonInfo(actual: actual, statistics: statistics))
        }
        if mayAsk { device.refreshStatistics(finish) } else { finish() }
    }
}

extension QMPError {
    /// StratoVirt's error.
    static let noBalloon = QMPError("No balloon device has been activated", class: .deviceNotActive)
}
