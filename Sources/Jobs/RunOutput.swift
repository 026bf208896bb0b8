import Threads
import Video

/// What a run has made for good: its frames as JPEGs, on disk under a temporary name, and their hash. Only the computing thread
/// writes.
final class RunOutput: Sendable {
    private struct State {
        var hash = SHA256()
        var count = 0
        var latentBytes = 0
        var lastFrame: [UInt8]?
        var failure: RunResult?
    }

    private let job: Job
    private let encode: @Sendable (Frame) throws -> [UInt8]
    private let store: JobStore
    private let limits: JobLimits
    private let writer: FrameWriter
    private let latents: GrowingFile
    private let state = Locked(State())

    init(
        _ job: Job, encode: @escaping @Sendable (Frame) throws -> [UInt8], store: JobStore, limits: JobLimits
    ) {
        self.job = job
        self.encode = encode
        self.store = store
        self.limits = limits
        writer = store.frameWriter(of: job.id, count: job.request.frames)
        latents = store.latentFile(of: job.id)
    }

    /// What keeps the video from being kept.
    var failure: RunResult? { state.withLock { $0.failure } }

    /// The JPEGs of `frames`, stored, and the index of the first; `nil` when that failed.
    func append(_ frames: [Frame]) -> (first: Int, jpegs: [[UInt8]])? {
        guard failure == nil else { return nil }
        var jpegs: [[UInt8]] = []
        do {
            for frame in frames { jpegs.append(try encode(frame)) }
        } catch {
            fail(.failed(.failed("a frame could not be encoded: \(error)")))
            return nil
        }
        do throws(FileError) {
            let bytes = jpegs.reduce(0) { $0 + $1.count }
            try checkRoom(for: bytes)
            for jpeg in jpegs { try writer.append(jpeg) }
        } catch {
            fail(.notStored(store.failure(error)))
            return nil
        }
        return state.withLock { state in
            for frame in frames { state.hash.update(frame.pixels) }
            state.lastFrame = jpegs.last ?? state.lastFrame
            defer { state.count += frames.count }
            return (state.count, jpegs)
        }
    }

    /// Writes a latent frame, `[channels, area]`, to its places in `[channels, count, area]`, float32 little-endian.
    func append(latent: [Float], channels: Int, at index: Int, of count: Int) {
        guard failure == nil else { return }
        let area = latent.count / channels * MemoryLayout<Float>.stride
        let bytes = latent.withUnsafeBytes { Array($0) }
        do throws(FileError) {
            try checkRoom(for: bytes.count)
            for channel in 0..<channels {
                let part = Array(bytes[channel * area..<(channel + 1) * area])
                try latents.write(part, at: (channel * count + index) * area)
            }
            state.withLock { $0.latentBytes += bytes.count }
        } catch {
            fail(.notStored(store.failure(error)))
        }
    }

    private func checkRoom(for bytes: Int) throws(FileError) {
        let present = writer.byteCount + state.withLock { $0.latentBytes }
        try store.checkRoom(for: bytes, behind: present, of: job.id, limits: limits)
    }

    func read(_ range: Range<Int>) -> [[UInt8]]? { writer.read(range) }

    /// Makes frames and latents durable.
    func finish(_ video: GeneratedVideo) -> RunResult {
        if let failure { return failure }
        let (count, sha256, lastFrame) = state.withLock { ($0.count, $0.hash.finalize(), $0.lastFrame) }
        guard count == job.request.frames else {
            return .failed(.failed("\(count) frames were made; \(job.request.frames) were asked for"))
        }
        do throws(FileError) {
            try writer.finish()
            try latents.finish()
        } catch {
            return .notStored(store.failure(error))
        }
        return .made(lastFrame: lastFrame, sha256: sha256, peakBytes: video.peakBytes)
    }

    /// Leaves nothing of what is not finished.
    func discard() {
        writer.discard()
        latents.discard()
    }

    private func fail(_ result: RunResult) { state.withLock { $0.failure = result } }
}
