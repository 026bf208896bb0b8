import Camera
import NIOCore
import Threads
import Video

/// What is wanted of the camera.
public struct PictureOrder: Sendable, Equatable {
    /// Of the video; larger pictures are brought to it.
    public var size: Size
    /// More than one are a clip of `fps` frames a second.
    public var count: Int
    public var fps: Int

    /// Beyond the time that one picture takes.
    var milliseconds: Int64 { Int64((count - 1) * 1000 / max(1, fps)) }
}

/// Takes pictures from the camera of this machine, for one request at a time, on a thread that lives for as long as that lasts: who asked
/// for the picture waits for it, nobody else does.
final class PictureTaker: Sendable {
    /// Blocks its thread; gives as many pictures as are wanted, of any size.
    typealias Take = @Sendable (PictureOrder) throws(CameraError) -> [Frame]

    private let take: Take
    private let limit: TimeAmount
    private let loop: any EventLoop
    private let isTaking = Locked(false)

    /// - Parameter limit: for a driver that does not come back from a call; `take` has a limit of its own, below this.
    init(loop: any EventLoop, limit: TimeAmount, take: @escaping Take) {
        self.take = take
        self.limit = limit
        self.loop = loop
    }

    /// Pictures brought to size, as those are that come with a request.
    ///
    /// - Parameter field: of the request, which asks for them.
    func pictures(_ order: PictureOrder, for field: String) async throws -> [Frame] {
        let isFirst = isTaking.withLock { isTaking in
            defer { isTaking = true }
            return !isTaking
        }
        guard isFirst else {
            throw ServiceError.cameraUnavailable(field: field, "it takes a picture for another request")
        }
        return try await withCheckedThrowingContinuation { continuation in
            let waiting = Locked<CheckedContinuation<[Frame], any Error>?>(continuation)
            // Once: by the thread, or by the clock when the thread hangs.
            let answer: @Sendable (Result<[Frame], any Error>) -> Void = { result in
                let continuation = waiting.withLock { waiting in
                    defer { waiting = nil }
                    return waiting
                }
                continuation?.resume(with: result)
            }
            let milliseconds = limit.nanoseconds / 1_000_000 + order.milliseconds
            let clock = loop.scheduleTask(in: .milliseconds(milliseconds)) {
                answer(
                    .failure(
                        ServiceError.cameraUnavailable(
                            field: field, "its driver has not answered for \(milliseconds) ms")))
            }
            // The clock is the driver's: bringing a clip to its size takes a small board as long as it takes.
            let end: @Sendable (Result<[Frame], any Error>) -> Void = { [isTaking] result in
                clock.cancel()
                let pictures = result.map { $0.map { $0.resampled(to: order.size) } }
                isTaking.withLock { $0 = false }
                answer(pictures)
            }
            let thread = Thread("camera") { [take] in
                do throws(CameraError) {
                    end(.success(try take(order)))
                } catch {
                    end(.failure(ServiceError.cameraUnavailable(field: field, "\(error)")))
                }
            }
            guard let thread else {
                return end(.failure(ServiceError.cameraUnavailable(field: field, "the system has no thread to give")))
            }
            thread.detach()
        }
    }
}
