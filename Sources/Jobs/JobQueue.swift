import Threads
import Video

/// Accepts jobs, keeps them, and has them computed one after another in the order of acceptance.
///
/// Everything it has answered "accepted" to is on disk: after a power cut queued jobs are queued, finished ones are there,
/// and the one that was being computed starts again.
public actor JobQueue {
    struct Kept {
        var job: Job
        var parameters: String?
        var bytes: Int64
    }

    let limits: JobLimits
    let generator: any FrameGenerator
    let encodeFrame: @Sendable (Frame) throws -> [UInt8]
    let log: @Sendable (JobLogEvent) -> Void
    let store: JobStore
    let monotonic: @Sendable () -> Double
    let wall: @Sendable () -> Double

    var kept: [String: Kept] = [:]
    /// Ids in the order of acceptance: all jobs, and those that wait.
    var order: [String] = []
    var waiting: [String] = []
    var running: Run?
    var logs: [String: EventLog] = [:]
    /// Jobs that have ended and whose events are kept for late clients, the oldest first.
    var endedLogs: [String] = []
    var latest: [String: LatestFrame] = [:]
    var storeBytes: Int64 = 0
    var totals = JobStatistics()
    /// Average of the last videos, for the guess of when a place in the queue gets free.
    var averageMilliseconds: Double?

    private var nextSequence: UInt64 = 1
    private var thread: ComputeThread?
    private(set) var stopping = false
    var startWaiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    var startWaiterCount: UInt64 = 0
    /// Who follows all jobs may come when it has ended already.
    var lastStarted: String?
    private var endings: [String: [CheckedContinuation<Void, Never>]] = [:]
    private var ages: [String: Int64]
    private var agedAt: Double

    /// Opens the store; unreadable jobs are set aside and logged, and never keep it from opening.
    ///
    /// - Parameters:
    ///   - directory: made when missing; its parent must exist.
    ///   - encodeFrame: one high-quality JPEG; called on the computing thread.
    public init(
        directory: String, limits: JobLimits, generator: any FrameGenerator,
        encodeFrame: @escaping @Sendable (Frame) throws -> [UInt8], log: @escaping @Sendable (JobLogEvent) -> Void
    ) throws(JobError) {
        try self.init(
            directory: directory, limits: limits, generator: generator, encodeFrame: encodeFrame, log: log,
            files: FileOperations(), monotonic: Run.monotonicSeconds, wall: Run.wallSeconds)
    }

    init(
        directory: String, limits: JobLimits, generator: any FrameGenerator,
        encodeFrame: @escaping @Sendable (Frame) throws -> [UInt8], log: @escaping @Sendable (JobLogEvent) -> Void,
        files: FileOperations, monotonic: @escaping @Sendable () -> Double, wall: @escaping @Sendable () -> Double
    ) throws(JobError) {
        do {
            store = try JobStore(directory: directory, files: files)
        } catch {
            throw .storage(error.message)
        }
        self.limits = limits
        self.generator = generator
        self.encodeFrame = encodeFrame
        self.log = log
        self.monotonic = monotonic
        self.wall = wall
        ages = store.loadAges()
        agedAt = monotonic()
        for entry in store.load(log: log) {
            var job = entry.job
            // The process died computing it: it is first again, as its sequence is the lowest of those that wait.
            if job.status == .inProgress {
                job.status = .queued
                job.progress = 0
                job.interruptions += 1
            }
            kept[job.id] = Kept(job: job, parameters: entry.parameters, bytes: entry.bytes)
            order.append(job.id)
            if job.status == .queued { waiting.append(job.id) }
            storeBytes += entry.bytes
            nextSequence = max(nextSequence, job.sequence + 1)
        }
        for id in ages.keys where kept[id]?.job.isFinished != true { ages[id] = nil }
    }

    /// Starts computing.
    public func start() throws(JobError) {
        guard thread == nil, !stopping else { return }
        let thread = ComputeThread()
        guard thread.start() else { throw .storage("the system has no thread to give") }
        self.thread = thread
        startNext()
    }

    /// Ends: the running job is handed back to the queue on disk. Nothing is accepted any more.
    public func stop() async {
        guard !stopping else { return }
        stopping = true
        if let run = running {
            run.cancel()
            generator.interrupt()
            await ending(of: run.job.id)
        }
        age()
        store.save(ages: ages)
        for frame in latest.values { frame.end() }
        for log in logs.values { log.close() }
        wakeStartWaiters()
        thread?.stop()
        thread = nil
        store.unlock()
    }

    // MARK: Acceptance

    /// Takes a job; it is durable when this returns.
    ///
    /// - Parameters:
    ///   - material: what the parameters' references stand for.
    ///   - idempotencyKey: the same key and request from the same owner give the job made the first time.
    ///   - source: the video that this one is made after.
    public func submit(
        _ parameters: VideoParameters, material: VideoMaterial = VideoMaterial(), peer: Peer, idempotencyKey: String?,
        remixing source: String? = nil
    ) throws(JobError) -> Job {
        let fingerprint = idempotencyKey.map { _ in parameters.fingerprint(material) }
        if let earlier = try earlier(fingerprint, peer: peer, idempotencyKey: idempotencyKey) { return earlier }
        var request = try resolve(parameters)
        if let mismatch = material.mismatch(request) { throw .invalid(mismatch) }
        request.camera = parameters.camera == nil ? nil : true
        try checkRoom(for: peer)

        let job = Job(
            id: JobIdentifier.make(), owner: peer.uid, sequence: nextSequence, request: request, status: .queued,
            progress: 0, createdAt: Int64(wall()), attempts: 0, remixedFrom: source, idempotencyKey: idempotencyKey)
        do { try store.create(job, parameters: fingerprint, material: material) } catch { throw storageError(error) }
        nextSequence += 1
        let bytes = store.bytes(of: job.id)
        kept[job.id] = Kept(job: job, parameters: fingerprint, bytes: bytes)
        storeBytes += bytes
        order.append(job.id)
        waiting.append(job.id)
        let words = parameters.camera == .now ? "accepted, with a picture from the camera" : "accepted"
        log(JobLogEvent(.info, words, job: job))
        startNext()
        return job
    }

    /// What `submit` would refuse is refused, before a picture is taken for it.
    ///
    /// - Parameter material: what is there of it.
    /// - Returns: the job that the key stands for already.
    public func prepare(
        _ parameters: VideoParameters, material: VideoMaterial, peer: Peer, idempotencyKey: String?
    ) throws(JobError) -> Job? {
        let fingerprint = idempotencyKey.map { _ in parameters.fingerprint(material) }
        if let earlier = try earlier(fingerprint, peer: peer, idempotencyKey: idempotencyKey) { return earlier }
        _ = try resolve(parameters)
        try checkRoom(for: peer)
        return nil
    }

    /// The job of the same key, if there is one.
    private func earlier(
        _ fingerprint: String?, peer: Peer, idempotencyKey: String?
    ) throws(JobError) -> Job? {
        guard !stopping else { throw .stopping }
        if let idempotencyKey, !(1...JobLimits.idempotencyKeyBytes).contains(idempotencyKey.utf8.count) {
            throw .invalid(
                RequestError(
                    .invalid, code: "invalid_idempotency_key", field: "Idempotency-Key",
                    "Idempotency-Key must have 1 to \(JobLimits.idempotencyKeyBytes) bytes"))
        }
        if let idempotencyKey,
            let earlier = kept.values.first(where: {
                $0.job.owner == peer.uid && $0.job.idempotencyKey == idempotencyKey
            })
        {
            guard earlier.parameters == fingerprint else { throw .idempotencyConflict }
            return earlier.job
        }
        return nil
    }

    private func resolve(_ parameters: VideoParameters) throws(JobError) -> VideoRequest {
        if let reason = generator.unavailableReason { throw .unavailable(reason) }
        do { return try generator.resolve(parameters) } catch { throw .invalid(error) }
    }

    /// In the queue and in the store.
    private func checkRoom(for peer: Peer) throws(JobError) {
        guard waiting.count < limits.queueLength else { throw .queueFull(retryAfter: retryAfter) }
        guard waiting.count(where: { kept[$0]?.job.owner == peer.uid }) < limits.perOwnerQueued else {
            throw .quotaExceeded(retryAfter: retryAfter)
        }
        makeRoom()
        let free = store.freeBytes
        guard free > limits.reserveBytes else { throw .storageFull(freeBytes: free) }
    }

    private var retryAfter: Int {
        let each = averageMilliseconds ?? 5000
        return max(1, Int((running?.etaMilliseconds.map(Double.init) ?? each) / 1000 + 0.5))
    }

    func storageError(_ error: FileError) -> JobError {
        error.isFull ? .storageFull(freeBytes: store.freeBytes) : .storage(error.message)
    }

    // MARK: Computing

    private func startNext() {
        guard let thread, running == nil, !stopping else { return }
        while let id = waiting.first {
            waiting.removeFirst()
            guard var job = kept[id]?.job else { continue }
            guard job.interruptions < limits.interruptions else {
                let times = "the daemon died \(job.interruptions) times while it was computed"
                fail(&job, JobFailure(code: "interrupted", message: times))
                continue
            }
            job.status = .inProgress
            job.attempts += 1
            job.startedAt = Int64(wall())
            job.progress = 0
            // Should the disk be full, the job runs all the same; only its count of attempts is not remembered.
            try? store.save(job, parameters: kept[id]?.parameters)
            kept[id]?.job = job
            begin(job, on: thread)
            return
        }
    }

    /// Who follows whatever job runs.
    func wakeStartWaiters() {
        let waiters = startWaiters.values
        startWaiters = [:]
        for waiter in waiters { waiter.resume() }
    }

    private func begin(_ job: Job, on thread: ComputeThread) {
        let run = Run(job: job, events: events(of: job), latest: latestSlot(of: job), encode: encodeFrame)
        running = run
        lastStarted = job.id
        wakeStartWaiters()
        let (generator, encode, store, limits) = (generator, encodeFrame, store, limits)
        log(JobLogEvent(.info, "started", job: job))
        thread.run { [weak self] in
            let result = compute(run, generator: generator, encode: encode, store: store, limits: limits)
            Task.daemon { [weak self] in await self?.ended(run, result) }
        }
    }

    private func ended(_ run: Run, _ result: RunResult) {
        let id = run.job.id
        running = nil
        if var job = kept[id]?.job {
            job.computeMilliseconds = run.elapsedMilliseconds
            job.progress = run.progress
            switch result {
            case .made(let lastFrame, let sha256, let peakBytes):
                job.framesSHA256 = sha256
                job.peakBytes = peakBytes
                complete(&job, lastFrame: lastFrame)
            case .failed where run.wasCancelled && stopping && !cancelledByClient.contains(id):
                handBack(&job)
            case .failed(let error):
                fail(&job, failure(for: run.wasCancelled ? .cancelled : error))
            case .notStored(let failure):
                fail(&job, failure)
            }
        }
        cancelledByClient.remove(id)
        for waiter in endings.removeValue(forKey: id) ?? [] { waiter.resume() }
        startNext()
    }

    /// Jobs that a client cancelled while they ran, as against those handed back by `stop`.
    private var cancelledByClient: Set<String> = []

    /// Frames and latents are durable already: a job that says completed has them.
    private func complete(_ job: inout Job, lastFrame: [UInt8]?) {
        var finished = job
        finished.status = .completed
        finished.progress = 100
        finished.completedAt = Int64(wall())
        do throws(FileError) {
            try store.save(finished, parameters: kept[job.id]?.parameters)
        } catch {
            return fail(&job, store.failure(error))
        }
        job = finished
        let milliseconds = Double(job.computeMilliseconds ?? 0)
        averageMilliseconds = averageMilliseconds.map { $0 * 0.7 + milliseconds * 0.3 } ?? milliseconds
        totals.completed += 1
        totals.computeMilliseconds += job.computeMilliseconds ?? 0
        finish(job, .completed, lastFrame: lastFrame)
    }

    func fail(_ job: inout Job, _ failure: JobFailure) {
        job.status = .failed
        job.error = failure
        job.completedAt = Int64(wall())
        store.discardVideo(of: job.id)
        do { try store.save(job, parameters: kept[job.id]?.parameters) } catch {
            // In memory it has failed; on disk it waits, so after a restart it is tried again. It is not lost.
            log(JobLogEvent(.error, "its failure could not be stored: \(error.message)", job: job))
        }
        totals.failed += 1
        finish(job, .failed, lastFrame: nil)
    }

    private func finish(_ job: Job, _ kind: JobEvent.Kind, lastFrame: [UInt8]?) {
        let bytes = store.bytes(of: job.id)
        storeBytes += bytes - (kept[job.id]?.bytes ?? 0)
        kept[job.id]?.job = job
        kept[job.id]?.bytes = bytes
        let slot = latestSlot(of: job)
        if let lastFrame {
            let steps = job.request.allSteps
            slot.put(jpeg: lastFrame, step: steps, steps: steps, timestamp: wall())
        }
        slot.end()
        events(of: job).append(event(for: job, kind))
        // Watchers hold what they need; the store answers everybody after them.
        latest[job.id] = nil
        keepLog(of: job.id)
        let words = job.error.map { "failed: \($0.message)" } ?? "completed"
        log(JobLogEvent(job.error == nil ? .info : .warning, words, job: job))
        makeRoom()
        if limits.retentionSeconds != nil { store.save(ages: ages) }
    }

    private func handBack(_ job: inout Job) {
        job.status = .queued
        job.progress = 0
        try? store.save(job, parameters: kept[job.id]?.parameters)
        kept[job.id]?.job = job
        waiting.insert(job.id, at: 0)
        log(JobLogEvent(.info, "handed back to the queue", job: job))
    }

    private func failure(for error: GenerationError) -> JobFailure {
        switch error {
        case .cancelled: JobFailure(code: "cancelled", message: "the video was cancelled")
        case .modelUnreadable(let words): JobFailure(code: "model_unreadable", message: words)
        case .outOfMemory(let words): JobFailure(code: "out_of_memory", message: words)
        case .failed(let words): JobFailure(code: "generation_failed", message: words)
        }
    }

    // MARK: Ending jobs

    /// Cancels the running job and waits until it has stopped.
    func cancelRunning(_ run: Run) async {
        cancelledByClient.insert(run.job.id)
        run.cancel()
        generator.interrupt()
        await ending(of: run.job.id)
    }

    private func ending(of id: String) async {
        guard running?.job.id == id else { return }
        await withCheckedContinuation { endings[id, default: []].append($0) }
    }

    /// Forgets a job that neither waits nor runs.
    func remove(_ id: String) throws(JobError) {
        do { try store.remove(id) } catch { throw storageError(error) }
        storeBytes -= kept[id]?.bytes ?? 0
        kept[id] = nil
        ages[id] = nil
        order.removeAll { $0 == id }
        waiting.removeAll { $0 == id }
        latest.removeValue(forKey: id)?.end()
        logs.removeValue(forKey: id)?.close()
        endedLogs.removeAll { $0 == id }
    }

    // MARK: Retention

    /// Adds the time since the last call to what finished jobs have been kept. It is the only age that counts: measured by a
    /// clock nobody can set, while the daemon runs, so that a board whose date jumps loses nothing.
    private func age() {
        let now = monotonic()
        let passed = Int64(max(0, now - agedAt))
        guard passed > 0 else { return }
        agedAt += Double(passed)
        for (id, one) in kept where one.job.isFinished { ages[id, default: 0] += passed }
    }

    /// Removes finished jobs that are too old. Called whenever jobs are looked at, as nothing runs while nobody asks.
    func removeExpired() {
        guard let retention = limits.retentionSeconds else { return }
        age()
        for (id, age) in ages where age > retention && kept[id]?.job.isFinished == true { try? remove(id) }
    }

    /// Removes finished jobs that are too old, then the oldest ones while the store is too large.
    private func makeRoom() {
        age()
        removeExpired()
        let finished = order.filter { kept[$0]?.job.isFinished == true }
        var place = 0
        while place < finished.count, storeBytes > limits.storeBytes || finished.count - place > limits.finishedJobs {
            let id = finished[place]
            place += 1
            guard (try? remove(id)) != nil else { continue }
            log(JobLogEvent(.info, "removed \(id): the store is limited to \(limits.storeBytes) bytes"))
        }
    }
}

/// On the computing thread. Writing may take seconds on a memory card, in which the queue answers everybody.
private func compute(
    _ run: Run, generator: any FrameGenerator, encode: @escaping @Sendable (Frame) throws -> [UInt8],
    store: JobStore, limits: JobLimits
) -> RunResult {
    let material: VideoMaterial
    do throws(FileError) {
        material = try store.material(of: run.job)
    } catch {
        return .notStored(JobFailure(code: "storage_error", message: "its pictures can't be read: \(error.message)"))
    }
    let output = RunOutput(run.job, encode: encode, store: store, limits: limits)
    run.begin(output)
    defer { output.discard() }
    let video: GeneratedVideo
    do throws(GenerationError) {
        video = try generator.generate(run.job.request, material: material, observer: run)
    } catch {
        return output.failure ?? .failed(error)
    }
    if run.wasCancelled { return .failed(.cancelled) }
    return output.finish(video)
}
