import FoundationEssentials
import Jobs

extension Router {
    /// Streams in `/state`, the oldest; what is beyond is only in the totals.
    private static let mostStreams = 100

    func state(_ request: Request) async throws -> Response {
        struct State: Encodable {
            struct Stream: Encodable {
                var uid: UInt32
                var job: String?
                var fps: Double?
                var width: Int?
                var sent: UInt64
                var dropped: UInt64
                var unchanged: UInt64
                /// Of the newest frame sent, since it was made.
                var age_ms: Int?
            }
            struct Streams: Encodable {
                var open: Int
                var sent_since_start: UInt64
                var dropped_since_start: UInt64
                var list: [Stream]
            }
            struct Jobs: Encodable {
                var queued: Int
                var running: String?
                var finished: Int
                var completed_since_start: Int
                var failed_since_start: Int
                var store_bytes: Int64
                var free_bytes: Int64
                var watchers: Int
            }
            var ready: Bool
            var reason: String?
            var models: [String]
            var connections: Int
            var jobs: Jobs
            var streams: Streams
            var host: HostFacts
        }
        let statistics = await jobs.statistics()
        let reason = generator.unavailableReason
        let totals = streams.totals
        let now = Date().timeIntervalSince1970
        let list = streams.streams(for: request.peer).prefix(Self.mostStreams).map { stream in
            let counts = stream.counts
            return State.Stream(
                uid: stream.peer.uid, job: counts.job, fps: stream.options.rate, width: stream.options.width,
                sent: counts.sent, dropped: counts.dropped, unchanged: counts.unchanged,
                age_ms: counts.newest.map { Int(max(0, now - $0) * 1000) })
        }
        return try json(
            State(
                ready: reason == nil, reason: reason, models: generator.capabilities.map(\.id),
                connections: connections.count,
                jobs: State.Jobs(
                    queued: statistics.queued, running: statistics.running, finished: statistics.finished,
                    completed_since_start: statistics.completed, failed_since_start: statistics.failed,
                    store_bytes: statistics.storeBytes, free_bytes: statistics.freeBytes,
                    watchers: statistics.watchers),
                streams: State.Streams(
                    open: totals.open, sent_since_start: totals.sent, dropped_since_start: totals.dropped, list: list),
                host: host()))
    }

    /// The Prometheus text format, version 0.0.4.
    func metricsText() async throws -> Response {
        let statistics = await jobs.statistics()
        let facts = host()
        var text = ""
        func metric(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: String)]) {
            guard !samples.isEmpty else { return }
            text += "# HELP filoscope_\(name) \(help)\n# TYPE filoscope_\(name) \(type)\n"
            for sample in samples { text += "filoscope_\(name)\(sample.labels) \(sample.value)\n" }
        }
        func gauge(_ name: String, _ help: String, _ value: Int64?) {
            metric(name, "gauge", help, value.map { [("", String($0))] } ?? [])
        }
        gauge("ready", "1 when videos can be asked for.", generator.unavailableReason == nil ? 1 : 0)
        gauge("jobs_queued", "Jobs that wait.", Int64(statistics.queued))
        gauge("jobs_running", "Jobs being computed.", statistics.running == nil ? 0 : 1)
        gauge("jobs_stored", "Finished jobs in the store.", Int64(statistics.finished))
        metric(
            "jobs_total", "counter", "Jobs finished since start.",
            [
                ("{status=\"completed\"}", String(statistics.completed)),
                ("{status=\"failed\"}", String(statistics.failed)),
            ])
        metric(
            "compute_seconds_total", "counter", "Time spent computing completed videos.",
            [("", String(Double(statistics.computeMilliseconds) / 1000))])
        gauge("store_bytes", "Bytes of the store.", statistics.storeBytes)
        gauge("store_free_bytes", "Bytes free where the store is.", statistics.freeBytes)
        gauge("watchers", "Clients that watch events.", Int64(statistics.watchers))
        gauge("connections", "Open connections.", Int64(connections.count))
        let totals = streams.totals
        gauge("preview_streams", "Clients that watch previews.", Int64(totals.open))
        metric("preview_frames_sent_total", "counter", "Preview frames sent.", [("", String(totals.sent))])
        metric(
            "preview_frames_dropped_total", "counter", "Preview frames skipped for clients that were not ready.",
            [("", String(totals.dropped))])
        metric(
            "http_answers_total", "counter", "Answers by status.",
            metrics.answers.map { ("{code=\"\($0.status)\"}", String($0.count)) })
        gauge(
            "memory_available_bytes", "Memory that can be had without swapping.", facts.memoryAvailable.map(Int64.init))
        gauge("rss_anon_bytes", "Private memory of the daemon.", facts.privateResident.map(Int64.init))
        gauge("rss_file_bytes", "Mapped files in memory.", facts.mappedResident.map(Int64.init))
        return Response(.ok, type: "text/plain; version=0.0.4; charset=utf-8", Array(text.utf8))
    }
}
