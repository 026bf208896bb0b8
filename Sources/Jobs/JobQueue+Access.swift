extension JobQueue {
    /// The job when it is there and `peer` may know of it.
    private func find(_ id: String, _ peer: Peer) throws(JobError) -> Job {
        removeExpired()
        guard let job = kept[id]?.job, peer.isAdministrator || job.owner == peer.uid else { throw .notFound }
        return job
    }

    private func view(_ job: Job) -> JobView {
        var job = job
        guard let run = running, run.job.id == job.id else {
            let position = job.status == .queued ? waiting.firstIndex(of: job.id) : nil
            let ahead = averageMilliseconds.flatMap { average in
                position.map { Int(Double($0 + 1) * average) + (running?.etaMilliseconds ?? 0) }
            }
            return JobView(job: job, queuePosition: position, etaMilliseconds: ahead)
        }
        job.progress = run.progress
        return JobView(job: job, queuePosition: nil, etaMilliseconds: run.etaMilliseconds)
    }

    public func job(_ id: String, peer: Peer) throws(JobError) -> JobView { view(try find(id, peer)) }

    /// A page of what `peer` may see, in the order of acceptance or against it.
    ///
    /// - Parameter after: the last id of the page before; `notFound` when there is no such job.
    public func list(
        peer: Peer, limit: Int, after: String?, ascending: Bool
    ) throws(JobError) -> (jobs: [JobView], hasMore: Bool) {
        removeExpired()
        var ids = order.filter { id in
            guard let job = kept[id]?.job else { return false }
            return peer.isAdministrator || job.owner == peer.uid
        }
        if !ascending { ids.reverse() }
        if let after {
            guard let place = ids.firstIndex(of: after) else { throw .notFound }
            ids.removeFirst(place + 1)
        }
        let page = ids.prefix(max(0, limit))
        return (page.compactMap { kept[$0].map { view($0.job) } }, ids.count > page.count)
    }

    /// Ends a job that is queued (at once) or runs (when it has stopped).
    public func cancel(_ id: String, peer: Peer) async throws(JobError) -> JobView {
        var job = try find(id, peer)
        guard !job.isFinished else { throw .wrongState(job.status, wanted: "queued or in_progress") }
        if let run = running, run.job.id == id {
            await cancelRunning(run)
        } else {
            waiting.removeAll { $0 == id }
            fail(&job, JobFailure(code: "cancelled", message: "the video was cancelled"))
        }
        return view(try find(id, peer))
    }

    /// Removes a job and everything of it, cancelling it first.
    public func delete(_ id: String, peer: Peer) async throws(JobError) {
        _ = try find(id, peer)
        if let run = running, run.job.id == id { await cancelRunning(run) }
        _ = try find(id, peer)
        try remove(id)
    }

    /// The pictures that a video was made from.
    public func material(of id: String, peer: Peer) throws(JobError) -> VideoMaterial {
        let job = try find(id, peer)
        do throws(FileError) {
            return try store.material(of: job)
        } catch {
            throw .storage("the pictures of \(id) can't be read: \(error.message)")
        }
    }

    /// A completed video's request, and its latents for another one to go on from.
    public func latents(of id: String, peer: Peer) throws(JobError) -> (request: VideoRequest, latents: [UInt8]) {
        let job = try find(id, peer)
        guard job.status == .completed else { throw .wrongState(job.status, wanted: "completed") }
        do throws(FileError) {
            return (job.request, try store.latents(of: id))
        } catch {
            throw .storage("the latents of \(id) can't be read: \(error.message)")
        }
    }

    /// The frames of a completed video.
    public func content(_ id: String, peer: Peer) throws(JobError) -> StoredVideo {
        let job = try find(id, peer)
        guard job.status == .completed else { throw .wrongState(job.status, wanted: "completed") }
        guard let frames = store.frames(of: id) else { throw .storage("the stored frames of \(id) can't be read") }
        return StoredVideo(
            size: job.request.size, fps: job.request.fps, framesSHA256: job.framesSHA256 ?? "", frames: frames)
    }

    /// Finished frames of a video, which may still be in the making, as JPEGs; `nil` when they are not all there.
    public func frames(_ range: Range<Int>, of id: String, peer: Peer) throws(JobError) -> [[UInt8]]? {
        _ = try find(id, peer)
        if let running, running.job.id == id, let frames = running.frames(range) { return frames }
        return store.frames(of: id, range)
    }

    /// What happens to a job, its present state first.
    ///
    /// - Parameter after: the last event the client has seen; 0 gives all that is kept, previews included, even of a job that
    ///   has just ended.
    public func watch(_ id: String, peer: Peer, after lastEventID: UInt64?) throws(JobError) -> JobWatch {
        let job = try find(id, peer)
        let log = events(of: job)
        let kind: JobEvent.Kind =
            switch job.status {
            case .completed: .completed
            case .failed: .failed
            case .queued, .inProgress: .progress
            }
        let watch = log.watch(
            after: lastEventID, present: event(for: view(job).job, kind), limit: limits.subscribers)
        if job.isFinished, !endedLogs.contains(id) { logs[id] = nil }
        guard let watch else { throw .quotaExceeded(retryAfter: 5) }
        return watch
    }

    /// The job's newest preview; of a completed video its last frame.
    public func latestFrame(_ id: String, peer: Peer) throws(JobError) -> LatestFrame {
        let job = try find(id, peer)
        guard job.isFinished else { return latestSlot(of: job) }
        let slot = LatestFrame()
        if job.status == .completed, let last = store.frames(of: id, job.request.frames - 1..<job.request.frames)?.last
        {
            let steps = job.request.allSteps
            slot.put(jpeg: last, step: steps, steps: steps, timestamp: wall())
        }
        slot.end()
        return slot
    }

    /// The newest completed video that `peer` may see, as one frame.
    public func newestVideo(peer: Peer) -> (id: String, frames: LatestFrame)? {
        let newest = order.last { id in
            guard let job = kept[id]?.job, job.status == .completed else { return false }
            return peer.isAdministrator || job.owner == peer.uid
        }
        return newest.flatMap { id in (try? latestFrame(id, peer: peer)).map { (id, $0) } }
    }

    /// The job of `peer` that started last, or the next one to, other than `id`; `nil` when the task is cancelled or the queue
    /// stops.
    public func nextRunning(after id: String?, peer: Peer) async -> (id: String, frames: LatestFrame)? {
        while !stopping, !Task.isCancelled {
            if let newest = lastStarted, newest != id, let frames = try? latestFrame(newest, peer: peer) {
                return (newest, frames)
            }
            await nextStart()
        }
        return nil
    }

    /// Returns when another job starts, the queue stops, or the task is cancelled.
    private func nextStart() async {
        startWaiterCount += 1
        let ticket = startWaiterCount
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled || stopping { return continuation.resume() }
                startWaiters[ticket] = continuation
            }
        } onCancel: {
            Task.daemon { await self.endWaiting(ticket) }
        }
    }

    private func endWaiting(_ ticket: UInt64) { startWaiters.removeValue(forKey: ticket)?.resume() }

    /// For the watchdog: answers as long as the queue is not stuck; tells whether work should be advancing.
    public func ping() -> WatchdogState {
        running == nil ? .idle : .computing(workCounter: generator.workCounter)
    }

    public func statistics() -> JobStatistics {
        var statistics = totals
        statistics.queued = waiting.count
        statistics.running = running?.job.id
        statistics.finished = kept.values.count { $0.job.isFinished }
        statistics.storeBytes = storeBytes
        statistics.freeBytes = store.freeBytes
        statistics.watchers = logs.values.reduce(0) { $0 + $1.watchers }
        return statistics
    }

    // MARK: For the queue itself

    func events(of job: Job) -> EventLog {
        if let log = logs[job.id] { return log }
        let log = EventLog(
            epoch: job.attempts + (job.status == .queued ? 1 : 0), backlog: limits.eventBacklog,
            previewBytes: limits.previewBacklogBytes)
        logs[job.id] = log
        return log
    }

    /// Keeps the events of the jobs that ended last, since a short job may be over before its client asks for them.
    func keepLog(of ended: String) {
        endedLogs.removeAll { $0 == ended }
        endedLogs.append(ended)
        var bytes = 0
        let fitting = endedLogs.reversed().prefix { id in
            bytes += logs[id]?.keptPreviewBytes ?? 0
            return bytes <= limits.previewBacklogBytes
        }.prefix(limits.endedLogs)
        for id in endedLogs.dropLast(fitting.count) { logs[id] = nil }
        endedLogs = Array(endedLogs.suffix(fitting.count))
    }

    func latestSlot(of job: Job) -> LatestFrame {
        if let slot = latest[job.id] { return slot }
        let slot = LatestFrame()
        latest[job.id] = slot
        return slot
    }

    func event(for job: Job, _ kind: JobEvent.Kind) -> JobEvent {
        let steps = job.request.allSteps
        let run = running?.job.id == job.id ? running : nil
        // What has ended has no run any more; rounded up, as progress was rounded down.
        let step = run?.step ?? (job.status == .completed ? steps : min(steps, (job.progress * steps + 98) / 99))
        return JobEvent(
            id: 0, kind: kind, step: step, steps: steps, frames: job.request.frames, progress: job.progress,
            etaMilliseconds: run?.etaMilliseconds)
    }
}

/// What the watchdog needs to know.
public enum WatchdogState: Sendable, Equatable {
    case idle
    /// The counter must grow from one look to the next.
    case computing(workCounter: UInt64)
}
