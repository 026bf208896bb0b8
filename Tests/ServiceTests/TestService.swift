import Camera
import FoundationEssentials
import Glibc
import Jobs
import Media
import Synchronization
import Threads
import Video

@testable import Service

/// Makes grey frames, slowly or not at all, as a test wants it.
final class FakeGenerator: FrameGenerator {
    struct Behaviour {
        var stepMilliseconds: UInt32 = 5
        var unavailableReason: String?
        /// Steps wait while this is set, but for those that are allowed.
        var isHeld = false
        var allowedSteps = 0
        var materials: [VideoMaterial] = []
    }
    let behaviour: Locked<Behaviour>
    private let work = Atomic<UInt64>(0)

    init(_ behaviour: Behaviour = .init()) { self.behaviour = Locked(behaviour) }

    func allowStep() { behaviour.withLock { $0.allowedSteps += 1 } }

    private var mayGoOn: Bool {
        behaviour.withLock { behaviour in
            guard behaviour.isHeld else { return true }
            guard behaviour.allowedSteps > 0 else { return false }
            behaviour.allowedSteps -= 1
            return true
        }
    }

    func release() { behaviour.withLock { $0.isHeld = false } }

    static let size = Size(width: 64, height: 64)!

    var capabilities: [ModelCapabilities] {
        guard unavailableReason == nil else { return [] }
        return [
            ModelCapabilities(
                id: "fake", description: "grey", licence: "Apache-2.0", sizes: [Self.size], fps: 8, minimumFrames: 5,
                maximumFrames: 17, defaultSteps: 4, maximumSteps: 50, defaultGuidance: 2.5,
                abilities: ["input_reference"],
                verified: true)
        ]
    }

    var unavailableReason: String? { behaviour.withLock { $0.unavailableReason } }
    var workCounter: UInt64 { work.load(ordering: .relaxed) }

    func resolve(_ parameters: VideoParameters) throws(RequestError) -> VideoRequest {
        if let size = parameters.size, size != Self.size {
            throw RequestError(
                .unsupported, code: "unsupported_size", field: "size", "\(size) can't be made; 64x64 can")
        }
        var request = VideoRequest(
            prompt: parameters.prompt, negativePrompt: parameters.negativePrompt ?? "", model: "fake", size: Self.size,
            frames: 5, fps: 8, seed: parameters.seed ?? 1, steps: parameters.steps ?? 4,
            guidance: parameters.guidance ?? 2.5, references: parameters.references)
        if let edit = parameters.edit {
            (request.edit, request.frames) = (edit, max(5, edit.frames))
        }
        return request
    }

    func generate(
        _ request: VideoRequest, material: VideoMaterial, observer: any GenerationObserver
    ) throws(GenerationError) -> GeneratedVideo {
        behaviour.withLock { $0.materials.append(material) }
        for step in 1...request.steps {
            repeat {
                for _ in 0..<behaviour.withLock({ $0.stepMilliseconds }) {
                    if observer.isCancelled { throw .cancelled }
                    usleep(1000)
                }
            } while !mayGoOn
            work.add(1, ordering: .relaxed)
            observer.finished(step: step, of: request.steps, preview: frame(UInt8(step)), previewIndex: step % 5)
        }
        observer.finished(frames: (0..<request.frames).map { frame(UInt8(100 + $0)) })
        observer.finished(latent: [1, 2, 3, 4], channels: 1, at: 0, of: 1)
        return GeneratedVideo(peakBytes: 1)
    }

    private func frame(_ grey: UInt8) -> Frame {
        Frame(size: Self.size, pixels: [UInt8](repeating: grey, count: Self.size.pixels * 3))
    }
}

/// A service on a socket of its own.
struct TestService {
    let path: String
    let service: Service
    let jobs: JobQueue
    let generator: FakeGenerator

    static func run(
        options: ServiceOptions = .patient, generator: FakeGenerator = FakeGenerator(), limits: JobLimits = .init(),
        previewBytes: Int? = nil, takePictures: (@Sendable (PictureOrder) throws(CameraError) -> [Frame])? = nil,
        _ body: @escaping @Sendable (TestService) throws -> Void
    ) async throws {
        let folder = "/tmp/filoscope-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        mkdir(folder, 0o700)
        let jobs = try JobQueue(
            directory: folder + "/state", limits: limits, generator: generator,
            encodeFrame: { frame in
                // What a client does with a frame is not tried here, so its size may be anything.
                if let previewBytes { return [UInt8](repeating: frame.pixels[0], count: previewBytes) }
                return try JPEG.encode(frame, quality: 95)
            }, log: { _ in })
        try await jobs.start()
        let service = Service(jobs: jobs, generator: generator, options: options, takePictures: takePictures)
        let path = folder + "/s"
        var settings = KioskSettings()
        settings.title = "A test's"
        settings.prompts = ["a fox at night"]
        let running = [
            try await service.start(try Listener(path: path)),
            try await service.start(try Listener(path: path + "-kiosk"), for: .browsers(settings)),
        ]
        let test = TestService(path: path, service: service, jobs: jobs, generator: generator)
        let result = await onThread { try body(test) }
        await jobs.stop()
        await service.stop(running)
        try? FileManager.default.removeItem(atPath: folder)
        try result.get()
    }

    func connect() throws -> RawClient { try RawClient(path) }

    func connectToKiosk() throws -> RawClient { try RawClient(path + "-kiosk") }

    func connectionsSettle(at wanted: Int) -> Bool { settles { service.connectionCount == wanted } }

    /// The preview streams of `/state`, each as its JSON.
    func streams() throws -> [String] {
        let state = try connect().request("GET", "/state").body
        guard let begin = RawClient.find("\"list\":[", in: state) else { throw RawClient.Failure("no list of streams") }
        let list = state[(begin + 8)...].prefix { $0 != UInt8(ascii: "]") }
        return list.split(separator: UInt8(ascii: "}")).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Event streams that are open, by the daemon's own count.
    func watchers() -> Int {
        let text = (try? connect().request("GET", "/metrics").text) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("filoscope_watchers ") }
        return line.flatMap { Int($0.dropFirst(19)) } ?? -1
    }

    /// What times are multiplied by: an emulated CPU is several times slower than any board, and so is a sanitized program.
    static let patience = getenv("FILOSCOPE_SLOW") == nil ? 1 : 4

    /// Waits for `condition`, at most half a minute: other tests may have every thread of the cooperative pool for seconds.
    func settles(_ condition: () throws -> Bool) rethrows -> Bool {
        for _ in 0..<3000 * Self.patience {
            if try condition() { return true }
            usleep(10_000)
        }
        return false
    }
}

extension ServiceOptions {
    /// The product's limits, but for its patience: on a busy machine a test may come to its next line after minutes.
    /// A test of a timeout sets its own.
    static var patient: ServiceOptions {
        var options = ServiceOptions()
        options.headTimeout = .seconds(900)
        options.requestTimeout = .seconds(900)
        options.idleTimeout = .seconds(900)
        options.writeTimeout = .seconds(900)
        return options
    }
}

/// Runs `body`, which blocks, on a thread of its own: the cooperative pool belongs to the service under test.
private func onThread(_ body: @escaping @Sendable () throws -> Void) async -> Result<Void, any Error> {
    final class Work: Sendable {
        let body: @Sendable () throws -> Void
        let done: CheckedContinuation<Result<Void, any Error>, Never>
        init(_ body: @escaping @Sendable () throws -> Void, _ done: CheckedContinuation<Result<Void, any Error>, Never>)
        {
            self.body = body
            self.done = done
        }
    }
    return await withCheckedContinuation { done in
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
                work.done.resume(returning: Result { try work.body() })
                return nil
            }, Unmanaged.passRetained(Work(body, done)).toOpaque())
        precondition(result == 0)
        pthread_detach(thread)
    }
}
