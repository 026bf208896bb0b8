import Glibc
import Synchronization
import Testing
import Threads
import Video

@testable import Jobs

/// Makes grey frames, at the pace a test wants.
final class FakeGenerator: FrameGenerator {
    struct Behaviour {
        /// Steps that may still be made; `nil` is any number.
        var allowed: Int?
        var error: GenerationError?
        var unavailableReason: String?
        /// Seeds in the order of being started.
        var started: [UInt64] = []
        var materials: [VideoMaterial] = []
        var latentBytes = 100
        /// Waits when all frames are there.
        var heldAtEnd = false
    }
    let behaviour: Locked<Behaviour>
    private let work = Atomic<UInt64>(0)

    init(allowed: Int? = nil) { behaviour = Locked(Behaviour(allowed: allowed)) }

    func allow(_ steps: Int) { behaviour.withLock { $0.allowed = ($0.allowed ?? 0) + steps } }
    func release() { behaviour.withLock { $0.allowed = nil } }
    func hold() { behaviour.withLock { $0.allowed = 0 } }
    var started: [UInt64] { behaviour.withLock { $0.started } }

    static let size = Size(width: 8, height: 8)!
    var capabilities: [ModelCapabilities] { [] }
    var unavailableReason: String? { behaviour.withLock { $0.unavailableReason } }
    var workCounter: UInt64 { work.load(ordering: .relaxed) }

    func resolve(_ parameters: VideoParameters) throws(RequestError) -> VideoRequest {
        guard !parameters.prompt.isEmpty else {
            throw RequestError(.invalid, code: "invalid_prompt", field: "prompt", "prompt is empty")
        }
        return VideoRequest(
            prompt: parameters.prompt, negativePrompt: "", model: "fake", size: Self.size, frames: 3, fps: 8,
            seed: parameters.seed ?? 1, steps: parameters.steps ?? 4, guidance: 1,
            references: parameters.references)
    }

    func generate(
        _ request: VideoRequest, material: VideoMaterial, observer: any GenerationObserver
    ) throws(GenerationError) -> GeneratedVideo {
        behaviour.withLock {
            $0.started.append(request.seed)
            $0.materials.append(material)
        }
        for step in 1...request.steps {
            while !takeStep() {
                if observer.isCancelled { throw .cancelled }
                usleep(2000)
            }
            if observer.isCancelled { throw .cancelled }
            if let error = behaviour.withLock({ $0.error }) { throw error }
            work.add(1, ordering: .relaxed)
            observer.finished(
                step: step, of: request.steps, preview: Self.frame(request.seed, step), previewIndex: step % 3)
        }
        for frame in Self.frames(request) { observer.finished(frames: [frame]) }
        let latent = [Float](repeating: 7, count: behaviour.withLock { $0.latentBytes } / 4)
        observer.finished(latent: latent, channels: 1, at: 0, of: 1)
        repeat {
            if observer.isCancelled { throw .cancelled }
            usleep(2000)
        } while behaviour.withLock { $0.heldAtEnd }
        return GeneratedVideo(
            peakBytes: 42)
    }

    private func takeStep() -> Bool {
        behaviour.withLock { behaviour in
            guard let allowed = behaviour.allowed else { return true }
            guard allowed > 0 else { return false }
            behaviour.allowed = allowed - 1
            return true
        }
    }

    static func frame(_ seed: UInt64, _ index: Int) -> Frame {
        let grey = UInt8(truncatingIfNeeded: Int(seed % 16) * 16 + index)
        return Frame(size: size, pixels: [UInt8](repeating: grey, count: size.pixels * 3))
    }

    static func frames(_ request: VideoRequest) -> [Frame] { (0..<request.frames).map { frame(request.seed, $0) } }

    @Sendable static func encode(_ frame: Frame) -> [UInt8] { [0xFF, 0xD8] + frame.pixels.prefix(20) + [0xFF, 0xD9] }
}

/// Clocks that a test sets.
final class Clocks: Sendable {
    let monotonic = Locked(1000.0)
    let wall = Locked(1_700_000_000.0)
    func pass(_ seconds: Double) {
        monotonic.withLock { $0 += seconds }
        wall.withLock { $0 += seconds }
    }
}

/// What happens to file operations, counted from 0.
final class Faults: Sendable {
    enum Kind {
        case none
        /// From this operation on nothing reaches the disk.
        case powerCut(at: Int)
        /// This one operation fails.
        case once(at: Int, errno: Int32)
        /// Everything that needs space fails.
        case full
    }
    private let state = Locked<(kind: Kind, count: Int, hits: [String])>((.none, 0, []))

    var count: Int { state.withLock { $0.count } }
    var hits: [String] { state.withLock { $0.hits } }

    func set(_ kind: Kind) {
        state.withLock {
            $0.kind = kind
            $0.count = 0
        }
    }

    var operations: FileOperations {
        var operations = FileOperations()
        operations.before = { [self] operation, path throws(FileError) in
            let code: Int32? = state.withLock { state in
                defer { state.count += 1 }
                let code: Int32? =
                    switch state.kind {
                    case .none: nil
                    case .powerCut(let at): state.count >= at ? EIO : nil
                    case .once(let at, let code): state.count == at ? code : nil
                    case .full: ["mkdir", "open", "write", "statvfs"].contains(operation) ? ENOSPC : nil
                    }
                if code != nil { state.hits.append("\(operation) \(path)") }
                return code
            }
            if let code { throw FileError(operation: operation, path: path, code: code) }
        }
        return operations
    }
}

/// A store of its own that can be opened again and again.
final class Harness: Sendable {
    let directory: String
    let clocks = Clocks()
    let faults = Faults()
    let journal = Locked<[JobLogEvent]>([])

    init() {
        directory = "/tmp/filoscope-jobs-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    }

    deinit { Harness.removeTree(directory) }

    func open(
        _ generator: FakeGenerator, limits: JobLimits = Harness.limits, start: Bool = true
    ) async throws -> JobQueue {
        let clocks = clocks
        let queue = try JobQueue(
            directory: directory, limits: limits, generator: generator, encodeFrame: FakeGenerator.encode,
            log: { event in self.journal.withLock { $0.append(event) } }, files: faults.operations,
            monotonic: { clocks.monotonic.withLock { $0 } }, wall: { clocks.wall.withLock { $0 } })
        if start { try await queue.start() }
        return queue
    }

    static let limits: JobLimits = {
        var limits = JobLimits()
        limits.reserveBytes = 0
        return limits
    }()

    var warnings: [String] { journal.withLock { $0.filter { $0.level != .info }.map(\.message) } }
    func path(_ name: String) -> String { "\(directory)/\(name)" }
    func names(in folder: String) -> [String] { FileOperations().names(in: path(folder)) }

    func write(_ bytes: [UInt8], to name: String) throws { try FileOperations().replace(path(name), with: bytes) }

    private static func removeTree(_ path: String) {
        for name in FileOperations().names(in: path) {
            let child = "\(path)/\(name)"
            if FileOperations().isKind(S_IFDIR, child) { removeTree(child) } else { unlink(child) }
        }
        rmdir(path)
    }
}

let alice = Peer(uid: 1000, isAdministrator: false)
let bob = Peer(uid: 1001, isAdministrator: false)
let root = Peer(uid: 0, isAdministrator: true)

extension JobQueue {
    func ask(_ seed: UInt64, steps: Int = 4, by peer: Peer = alice, key: String? = nil) throws(JobError) -> String {
        var parameters = VideoParameters(prompt: "a circle")
        parameters.seed = seed
        parameters.steps = steps
        return try submit(parameters, peer: peer, idempotencyKey: key).id
    }

    /// The job when it has ended.
    @discardableResult func finished(_ id: String) async throws -> Job {
        for await _ in try watch(id, peer: root, after: nil).events {}
        return try job(id, peer: root).job
    }

    func status(_ id: String) throws -> Job.Status { try job(id, peer: root).job.status }
}

/// Waits for what another thread is about to do.
func eventually(
    _ sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async rethrows {
    for _ in 0..<30_000 {
        if try await condition() { return }
        try? await Task.sleep(for: .milliseconds(2))
    }
    Issue.record("it did not happen within a minute", sourceLocation: sourceLocation)
}

func expectError(
    _ wanted: (JobError) -> Bool, _ sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("it did not fail", sourceLocation: sourceLocation)
    } catch let error as JobError {
        #expect(wanted(error), "\(error)", sourceLocation: sourceLocation)
    } catch { Issue.record(error, sourceLocation: sourceLocation) }
}
