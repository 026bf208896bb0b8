import ArgumentParser
import Camera
import FoundationEssentials
import Generation
import Glibc
import Host
import Jobs
import Media
import Service
import Threads
import Video

/// Wires the rooms together, and takes them down in order.
enum Daemon {
    static let version = "0.1.0"

    static func run(flags: Configuration.Flags) async throws {
        let journal = Journal()
        do {
            try await serve(flags: flags, journal: journal)
        } catch let error as ConfigurationError {
            // sysexits.h's EX_CONFIG: starting again would not help.
            journal.write(.error, "filoscoped ends: \(error)")
            throw ExitCode(78)
        } catch {
            journal.write(.error, "filoscoped ends: \(error)")
            throw ExitCode.failure
        }
    }

    private static func serve(flags: Configuration.Flags, journal: Journal) async throws {
        let started = ContinuousClock.now
        let configuration = try Configuration.load(
            flags: flags, environment: ProcessInfo.processInfo.environment,
            read: { path in
                guard access(path, R_OK) == 0 else { throw Unreadable(reason: String(cString: strerror(errno))) }
                return try Array(Data(contentsOf: URL(filePath: path)))
            })
        let available = Pipeline.availableProcessors
        if let missing = configuration.cpus?.first(where: { !available.contains($0) }) {
            throw ConfigurationError("cpus: this process may not run on CPU \(missing); it may on \(available)")
        }
        let pipeline = try Pipeline(
            modelsDirectory: configuration.models, threads: configuration.threads, cpus: configuration.cpus)
        let threads = pipeline.threads
        for problem in pipeline.problems { journal.write(.warning, problem) }

        // A changed job wakes the teller of states; it looks for itself what there is to tell.
        let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let jobs = try JobQueue(
            directory: configuration.state, limits: limits(configuration.limits), generator: pipeline,
            encodeFrame: { try JPEG.encode($0, quality: 95, subsampling: .full) },
            log: {
                write($0, to: journal)
                change.yield()
            })
        var options = ServiceOptions()
        options.connections = configuration.limits.connections ?? options.connections
        options.connectionsPerPeer = configuration.limits.connectionsPerUser ?? options.connectionsPerPeer
        options.retentionSeconds = configuration.limits.retentionSeconds
        let camera = virtualCamera(configuration, pipeline, journal)
        let service = Service(
            jobs: jobs, generator: pipeline, options: options, takePictures: pictures(configuration),
            host: { facts(pipeline, camera, threads: threads, started: started) }, log: { write($0, to: journal) })

        let terminations = Signals.terminations()
        let sockets = ServiceManager.handedOverSockets()
        var running = [try await service.start(try listener(configuration, sockets))]
        if let kiosk = try kioskListener(configuration, sockets) {
            running.append(try await service.start(kiosk, for: .browsers(settings(configuration.kiosk))))
        }
        try await jobs.start()
        let words = pipeline.unavailableReason ?? "ready, \(pipeline.kernelLevel), \(threads) threads"
        ServiceManager.ready(status: words)
        journal.write(pipeline.unavailableReason == nil ? .notice : .warning, words)
        let watchdog = watch(jobs, service)
        let teller = Task.daemon { await tellStates(of: jobs, idle: words, changes) }
        let shower = camera.map { camera in Task.daemon { await show(jobs, on: camera) } }
        verify(pipeline, journal)

        for await signal in terminations {
            journal.write(.notice, "stopping on signal \(signal)")
            break
        }
        ServiceManager.stopping(status: "handing the running job back")
        watchdog?.stop()
        teller.cancel()
        shower?.cancel()
        await jobs.stop()
        await service.stop(running)
        camera?.stop()
    }

    private static func virtualCamera(
        _ configuration: Configuration, _ pipeline: Pipeline, _ journal: Journal
    ) -> VirtualCamera? {
        guard let path = configuration.videoDevice else { return nil }
        guard let model = pipeline.capabilities.first, let size = model.sizes.first else {
            journal.write(.warning, "video_device: without a model there is nothing to show on \(path)")
            return nil
        }
        var settings = VirtualCamera.Settings(path: path, size: size, fps: model.fps)
        settings.loops = configuration.videoDeviceLoops
        let camera = VirtualCamera(settings, log: { journal.write(.notice, $0) })
        guard camera.start() else {
            journal.write(.warning, "video_device: the system has no thread to give")
            return nil
        }
        return camera
    }

    /// From the camera that the operator allows. It is open only while it takes a picture.
    private static func pictures(_ configuration: Configuration) -> (
        @Sendable (PictureOrder) throws(CameraError) -> [Frame]
    )? {
        guard let path = configuration.cameraDevice else { return nil }
        return { order throws(CameraError) in
            let size = order.size
            // At their smallest many cameras show a part of what they see.
            let asked = Size(width: max(640, size.width), height: max(480, size.height)) ?? size
            return try VideoCapture(path: path, options: VideoCapture.Options(size: asked))
                .frames(order.count, fps: order.fps) { $0.resampled(to: size) }
        }
    }

    /// The previews of whatever job runs, then its video.
    private static func show(_ jobs: JobQueue, on camera: VirtualCamera) async {
        let everything = Peer(uid: getuid(), isAdministrator: true)
        var shown: String?
        while let run = await jobs.nextRunning(after: shown, peer: everything) {
            shown = run.id
            camera.look()
            var seen: UInt64 = 0
            while let entry = await run.frames.next(after: seen) {
                seen = entry.sequence
                camera.show(preview: entry.jpeg)
            }
            if let video = try? await jobs.content(run.id, peer: everything) {
                camera.play(video.frames, fps: video.fps)
            }
        }
    }

    private typealias Sockets = [(name: String, descriptor: Int32)]

    /// systemd's socket, or one of our own.
    private static func listener(_ configuration: Configuration, _ sockets: Sockets) throws -> Listener {
        if let path = configuration.listen { return try Listener(path: path) }
        guard let socket = sockets.first(where: { $0.name == "api" }) ?? sockets.first(where: { $0.name != "kiosk" })
        else { throw ValidationError("no socket was handed over by systemd, and no --listen PATH was given") }
        return try Listener(descriptor: socket.descriptor)
    }

    private static func kioskListener(_ configuration: Configuration, _ sockets: Sockets) throws -> Listener? {
        if let path = configuration.kiosk.listen { return try Listener(path: path) }
        guard let socket = sockets.first(where: { $0.name == "kiosk" }) else { return nil }
        return try Listener(descriptor: socket.descriptor)
    }

    private static func settings(_ kiosk: Configuration.Kiosk) -> KioskSettings {
        var settings = KioskSettings()
        settings.title = kiosk.title ?? settings.title
        settings.prompts = kiosk.prompts
        settings.idleSeconds = kiosk.idleSeconds ?? settings.idleSeconds
        return settings
    }

    private static func watch(_ jobs: JobQueue, _ service: Service) -> Watchdog? {
        guard let interval = ServiceManager.watchdogInterval() else { return nil }
        return Watchdog(
            interval: interval,
            observe: {
                try waitForTask {
                    try await service.roundTrip()
                    switch await jobs.ping() {
                    case .idle: return .idle
                    case .computing(let counter): return .computing(workDone: counter)
                    }
                }
            }, alive: ServiceManager.aliveSign)
    }

    /// One line for `systemctl status`: the running job's steps, or that there is none.
    private static func tellStates(of jobs: JobQueue, idle: String, _ changes: AsyncStream<Void>) async {
        let everything = Peer(uid: getuid(), isAdministrator: true)
        for await _ in changes {
            let statistics = await jobs.statistics()
            guard let id = statistics.running else {
                ServiceManager.status(idle)
                continue
            }
            guard let watch = try? await jobs.watch(id, peer: everything, after: nil) else { continue }
            for await event in watch.events where event.kind == .progress {
                ServiceManager.status(
                    "making \(id): step \(event.step) of \(event.steps), \(statistics.queued) waiting")
            }
        }
    }

    /// Hashes the models' files at the lowest priority, once; until then `/v1/models` says `verified: false`.
    private static func verify(_ pipeline: Pipeline, _ journal: Journal) {
        let thread = Thread("verify", niceness: 19) {
            for problem in pipeline.verify() { journal.write(.error, problem) }
        }
        guard let thread else { return journal.write(.warning, "no thread to verify the models with") }
        thread.detach()
    }

    private static func limits(_ given: Configuration.Limits) -> JobLimits {
        var limits = JobLimits()
        limits.queueLength = given.queueLength ?? limits.queueLength
        limits.perOwnerQueued = given.queuedPerUser ?? limits.perOwnerQueued
        limits.storeBytes = given.storeBytes ?? limits.storeBytes
        limits.retentionSeconds = given.retentionSeconds
        return limits
    }

    private static func facts(
        _ pipeline: Pipeline, _ camera: VirtualCamera?, threads: Int, started: ContinuousClock.Instant
    ) -> HostFacts {
        let memory = MemoryFacts.now()
        var facts = HostFacts()
        facts.version = version
        facts.kernels = pipeline.kernelLevel
        facts.threads = threads
        facts.memoryAvailable = memory.available
        facts.memorySource = memory.available == nil ? nil : "MemAvailable"
        facts.privateResident = memory.privateResident
        facts.mappedResident = memory.mappedResident
        facts.videoDevice = camera?.facts
        facts.uptime = (ContinuousClock.now - started) / .seconds(1)
        return facts
    }

    private static func write(_ event: JobLogEvent, to journal: Journal) {
        var fields: [(name: String, value: String)] = []
        if let job = event.job { fields.append(("job", job)) }
        if let owner = event.owner { fields.append(("uid", String(owner))) }
        if let milliseconds = event.milliseconds { fields.append(("milliseconds", String(milliseconds))) }
        let priority: Journal.Priority =
            switch event.level {
            case .info: .information
            case .warning: .warning
            case .error: .error
            }
        journal.write(priority, event.message, fields: fields)
    }

    private static func write(_ event: ServiceLogEvent, to journal: Journal) {
        journal.write(
            event.status >= 500 ? .warning : .debug, "\(event.method) \(event.path) \(event.status)",
            fields: [("uid", String(event.uid)), ("took", "\(event.took)")])
    }

    private struct Unreadable: Error, CustomStringConvertible {
        let reason: String
        var description: String { "can't be read: \(reason)" }
    }
}
