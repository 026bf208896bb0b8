/// A video that was asked for, from acceptance until it is deleted; what the store keeps of it.
public struct Job: Sendable, Codable, Equatable {
    public enum Status: String, Sendable, Codable {
        case queued
        case inProgress = "in_progress"
        case completed
        case failed
    }

    /// `video_` and 24 hexadecimal digits.
    public var id: String
    /// The uid that asked for it.
    public var owner: UInt32
    /// The order of acceptance, which no clock can change.
    public var sequence: UInt64
    public var request: VideoRequest
    public var status: Status
    /// 0...100, never less than it was.
    public var progress: Int
    /// Unix seconds by the wall clock, for people: a board without a battery may have any time at all.
    public var createdAt: Int64
    public var startedAt: Int64?
    public var completedAt: Int64?
    public var error: JobFailure?
    /// SHA-256 of the RGB8 frames in order.
    public var framesSHA256: String?
    /// Peak of private memory the generation used, in bytes.
    public var peakBytes: Int?
    public var computeMilliseconds: Int?
    /// How often it was started; more than once when the process died while computing it.
    public var attempts: Int
    public var remixedFrom: String?
    public var idempotencyKey: String?

    public var isFinished: Bool { status == .completed || status == .failed }
}

/// Why a job failed; `code` is for programs: `cancelled`, `generation_failed`, `storage_full`, `interrupted`, …
public struct JobFailure: Sendable, Codable, Equatable {
    public var code: String
    public var message: String

    public init(code: String, message: String) {
        self.code = code
        self.message = message
    }
}

/// A job and what is true of it only right now.
public struct JobView: Sendable, Equatable {
    public var job: Job
    /// How many jobs run before it; 0 is next. `nil` unless queued.
    public var queuePosition: Int?
    /// Until it is finished, estimated from the steps measured so far; `nil` when nothing was measured yet.
    public var etaMilliseconds: Int?

    public init(job: Job, queuePosition: Int?, etaMilliseconds: Int?) {
        self.job = job
        self.queuePosition = queuePosition
        self.etaMilliseconds = etaMilliseconds
    }
}

/// Who asks. Jobs belong to a uid; administrators see all.
public struct Peer: Sendable, Equatable {
    public var uid: UInt32
    public var isAdministrator: Bool

    public init(uid: UInt32, isAdministrator: Bool) {
        self.uid = uid
        self.isAdministrator = isAdministrator
    }
}

/// What the queue and the store are bounded by.
public struct JobLimits: Sendable, Equatable {
    /// Jobs waiting, of all owners.
    public var queueLength = 32
    /// Jobs waiting, of one owner.
    public var perOwnerQueued = 32
    /// Bytes of the store; the oldest finished jobs make room.
    public var storeBytes: Int64 = 2 << 30
    /// Finished jobs in the store.
    public var finishedJobs = 10_000
    /// Seconds a finished job is kept, counted while the daemon runs; `nil` keeps it until room is needed.
    public var retentionSeconds: Int64?
    /// Bytes of the file system that are never used up.
    public var reserveBytes: Int64 = 32 << 20
    /// Starts after which a job that the process keeps dying of is given up.
    public var attempts = 1000
    /// Events kept for those who come back with `Last-Event-ID`.
    public var eventBacklog = 512
    /// Events that wait for one slow client before its oldest are dropped.
    public var subscriberBacklog = 64
    /// Clients that may watch one job.
    public var subscribers = 256

    public init() {}
}

public enum JobError: Error, Sendable, Equatable {
    /// No such job, or another owner's.
    case notFound
    /// Seconds after which to try again.
    case queueFull(retryAfter: Int)
    case quotaExceeded(retryAfter: Int)
    case wrongState(Job.Status, wanted: String)
    case storageFull(freeBytes: Int64)
    case storage(String)
    case invalid(RequestError)
    case unavailable(String)
    /// The key was used for another request.
    case idempotencyConflict
    case stopping
}

/// What the journal is told.
public struct JobLogEvent: Sendable, Equatable {
    public enum Level: Sendable { case info, warning, error }
    public var level: Level
    public var message: String
    public var job: String?
    public var owner: UInt32?
    public var milliseconds: Int?

    public init(_ level: Level, _ message: String, job: Job? = nil) {
        self.level = level
        self.message = message
        self.job = job?.id
        owner = job?.owner
        milliseconds = job?.computeMilliseconds
    }
}

/// Counts for /metrics and /state.
public struct JobStatistics: Sendable, Equatable {
    public var queued = 0
    public var running: String?
    public var finished = 0
    /// Since the process started.
    public var completed = 0
    public var failed = 0
    public var computeMilliseconds = 0
    public var storeBytes: Int64 = 0
    public var freeBytes: Int64 = 0
    public var watchers = 0
}
