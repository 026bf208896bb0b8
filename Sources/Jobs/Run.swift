import Glibc
import Synchronization
import Threads
import Video

/// One computation of one job: what the computing thread tells and everybody else reads.
final class Run: GenerationObserver {
    private struct State {
        var step = 0
        var progress: Int
        /// Seconds between the ends of two steps, averaged.
        var perStep: Double?
        var lastStep: Double
    }

    let job: Job
    let events: EventLog
    let latest: LatestFrame
    private let encode: @Sendable (Frame) throws -> [UInt8]
    private let cancelled = Atomic<Bool>(false)
    private let state: Locked<State>
    private let output = Locked<RunOutput?>(nil)
    private let started = Run.monotonicSeconds()

    init(
        job: Job, events: EventLog, latest: LatestFrame, encode: @escaping @Sendable (Frame) throws -> [UInt8]
    ) {
        self.job = job
        self.events = events
        self.latest = latest
        self.encode = encode
        state = Locked(State(progress: job.progress, lastStep: started))
    }

    func cancel() { cancelled.store(true, ordering: .relaxed) }
    var wasCancelled: Bool { cancelled.load(ordering: .relaxed) }
    /// Nothing is made any more that can't be kept.
    var isCancelled: Bool { wasCancelled || output.withLock { $0?.failure != nil } }

    /// Where the frames go.
    func begin(_ output: RunOutput) { self.output.withLock { $0 = output } }

    /// Finished frames as JPEGs; `nil` when they are not all there.
    func frames(_ range: Range<Int>) -> [[UInt8]]? { output.withLock { $0 }?.read(range) }

    var elapsedMilliseconds: Int { Int((Self.monotonicSeconds() - started) * 1000) }
    var progress: Int { state.withLock { $0.progress } }
    var step: Int { state.withLock { $0.step } }

    /// Steps left at the measured pace; the decoder's share is counted as one step.
    var etaMilliseconds: Int? {
        state.withLock { state in
            guard let perStep = state.perStep else { return nil }
            let passed = Self.monotonicSeconds() - state.lastStep
            return max(0, Int((Double(job.request.allSteps - state.step + 1) * perStep - passed) * 1000))
        }
    }

    func finished(step: Int, of steps: Int, preview: Frame, previewIndex: Int) {
        let now = Self.monotonicSeconds()
        let progress = state.withLock { state in
            let duration = now - state.lastStep
            // The first step pays for pages that are not in memory yet.
            state.perStep = step <= 2 ? duration : (state.perStep ?? duration) * 0.8 + duration * 0.2
            state.lastStep = now
            state.step = step
            // The last hundredth is the decoder's and the disk's.
            state.progress = max(state.progress, step * 99 / max(steps, 1))
            return state.progress
        }
        let event = JobEvent(
            id: 0, kind: .progress, step: step, steps: steps, frames: job.request.frames, progress: progress,
            etaMilliseconds: etaMilliseconds)
        events.append(event)
        // A preview that can't be encoded is no reason to lose the video.
        guard let jpeg = try? encode(preview) else { return }
        latest.put(jpeg: jpeg, step: step, steps: steps, timestamp: Self.wallSeconds())
        var picture = event
        picture.kind = .preview(
            jpeg: jpeg, width: preview.size.width, height: preview.size.height, frame: previewIndex)
        events.append(picture)
    }

    func finished(frames: [Frame]) {
        guard let output = output.withLock({ $0 }), let (first, jpegs) = output.append(frames) else { return }
        let (step, progress) = state.withLock { ($0.step, $0.progress) }
        let steps = job.request.allSteps
        for jpeg in jpegs { latest.put(jpeg: jpeg, step: step, steps: steps, timestamp: Self.wallSeconds()) }
        events.append(
            JobEvent(
                id: 0, kind: .frames(first: first, count: jpegs.count), step: step, steps: steps,
                frames: job.request.frames, progress: progress, etaMilliseconds: etaMilliseconds))
    }

    func finished(latent: [Float], channels: Int, at index: Int, of count: Int) {
        output.withLock { $0 }?.append(latent: latent, channels: channels, at: index, of: count)
    }

    /// Time that passes in suspension too, and that nobody can set.
    static func monotonicSeconds() -> Double { seconds(CLOCK_BOOTTIME) }
    static func wallSeconds() -> Double { seconds(CLOCK_REALTIME) }

    private static func seconds(_ clock: Int32) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
